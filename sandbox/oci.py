"""OCI image archives, written without a daemon: one uncompressed layer per folder, readable by `ctr images import` and buildah."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox.command import run

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FORMAT = "2"  # to be raised when `pack_layer` packs differently
# What a running Debian mounts over, and what must not end up in an image.
MOUNTED = ("./dev/*", "./proc/*", "./sys/*", "./run/*", "./tmp/*")


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of an archive: its sha256, its size in bytes, and where the bytes are."""

    digest: str
    size: int
    path: Path | None = None
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Image:
    """What an archive is made of. *name* is the full name with registry and tag."""

    name: str
    layers: tuple[Blob, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def architecture() -> str:
    """This machine's architecture in the words of OCI."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_layer(folder: Path, target: Path) -> Blob:
    """Packs *folder* into the tar *target*: sorted, owned by root, times fixed, so equal content gives an equal digest."""
    excludes = MOUNTED if (folder / "etc" / "os-release").exists() else ()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".part")
    fixed = ["--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0", "--xattrs"]
    fixed += ["--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    run(["tar", *fixed, *(f"--exclude={item}" for item in excludes), "-cf", fresh, "-C", folder, "."])
    fresh.replace(target)
    return Blob(digest_of(target), target.stat().st_size, target)


def json_blob(value: object) -> Blob:
    content = json.dumps(value, sort_keys=True).encode()
    return Blob(hashlib.sha256(content).hexdigest(), len(content), content=content)


def _descriptor(blob: Blob, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{blob.digest}", "size": blob.size}


def config_of(image: Image) -> Blob:
    return json_blob(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": {"Entrypoint": list(image.entrypoint), "Cmd": list(image.command), "Env": [PATH]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
            "history": [{"created_by": "ovnloom sandbox"} for _ in image.layers],
        }
    )


def write_image(target: Path, image: Image) -> None:
    """Writes *image* as an archive. Its layers must be uncompressed tars."""
    config = config_of(image)
    manifest = json_blob(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(config, CONFIG),
            "layers": [_descriptor(layer, LAYER) for layer in image.layers],
        }
    )
    write_archive(target, image.name, manifest, [config, *image.layers])


def write_archive(target: Path, name: str, manifest: Blob, blobs: Sequence[Blob]) -> None:
    """An archive of one manifest and *blobs*. Blobs that the reader already holds may be left out: that makes it thin."""
    entry = _descriptor(manifest, MANIFEST)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    entry["platform"] = {"architecture": architecture(), "os": "linux"}
    index = json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".part")
    with tarfile.open(fresh, "w") as archive:
        _add(archive, "oci-layout", Blob("", 0, content=b'{"imageLayoutVersion":"1.0.0"}'))
        _add(archive, "index.json", index)
        for blob in dict.fromkeys([manifest, *blobs]):
            _add(archive, f"blobs/sha256/{blob.digest}", blob)
    fresh.replace(target)


def _add(archive: tarfile.TarFile, name: str, blob: Blob) -> None:
    entry = tarfile.TarInfo(name)
    if blob.path:
        entry.size = blob.path.stat().st_size
        with blob.path.open("rb") as file:
            archive.addfile(entry, file)
        return
    entry.size = len(blob.content)
    archive.addfile(entry, io.BytesIO(blob.content))


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image folder with one image, as `buildah push … oci:FOLDER` writes it."""

    folder: Path

    def blob(self, digest: str) -> Blob:
        """*digest* with its "sha256:" in front."""
        path = self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        return Blob(path.name, path.stat().st_size, path)

    def parts(self) -> tuple[Blob, Blob, list[Blob]]:
        """Manifest, config, layers from the lowest up. Raises ``ValueError`` when the folder does not hold exactly one image."""
        entries = json.loads((self.folder / "index.json").read_text())["manifests"]
        if len(entries) != 1:
            raise ValueError(f"{self.folder} holds {len(entries)} images, expected one")
        manifest = self.blob(entries[0]["digest"])
        assert manifest.path
        content = json.loads(manifest.path.read_text())
        return manifest, self.blob(content["config"]["digest"]), [self.blob(layer["digest"]) for layer in content["layers"]]

    def replace_last_layer(self, layer: Blob) -> None:
        """Makes the image one with *layer*, an uncompressed tar, in the place of its last layer."""
        manifest, config, _ = self.parts()
        described = json.loads(self.read(config))
        described["rootfs"]["diff_ids"][-1] = f"sha256:{layer.digest}"
        changed = json.loads(self.read(manifest))
        new_config = json_blob(described)
        changed["config"] |= {"digest": f"sha256:{new_config.digest}", "size": new_config.size}
        changed["layers"][-1] = _descriptor(layer, LAYER)
        new_manifest = json_blob(changed)
        for blob in (layer, new_config, new_manifest):
            self.write(blob)
        index = json.loads((self.folder / "index.json").read_text())
        index["manifests"][0] |= {"digest": f"sha256:{new_manifest.digest}", "size": new_manifest.size}
        fresh = self.folder / "index.json.part"
        fresh.write_text(json.dumps(index))
        fresh.replace(self.folder / "index.json")

    def read(self, blob: Blob) -> bytes:
        return (self.folder / "blobs" / "sha256" / blob.digest).read_bytes()

    def write(self, blob: Blob) -> None:
        target = self.folder / "blobs" / "sha256" / blob.digest
        if blob.path:
            shutil.copyfile(blob.path, target)
        else:
            target.write_bytes(blob.content)

    def prune(self) -> None:
        """Removes the blobs that are not of the image."""
        manifest, config, layers = self.parts()
        keep = {blob.digest for blob in (manifest, config, *layers)}
        for file in (self.folder / "blobs" / "sha256").iterdir():
            if file.name not in keep:
                file.unlink()
