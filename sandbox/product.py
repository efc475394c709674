"""The product's image, built by buildah from the Dockerfile that registry users build too.

Its lowest layer is a Debian folder of ours instead of `debian:…`; its last layer is the source code alone. So after a change of
code only that layer is imported into nodes that hold the others: the *thin* archive.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox import host, oci
from ovnloom.sandbox.command import CommandFailed, enclosed, run
from ovnloom.sandbox.images import base_layer
from ovnloom.sandbox.paths import CHECKOUT, Cache, key_of, key_of_files
from ovnloom.sandbox.roots import product_root

NAME = "docker.io/ovnloom/ovnloom:dev"
DOCKERFILE = CHECKOUT / "deploy" / "image" / "Dockerfile"
# What the Dockerfile copies, by top folder or file.
CONTEXT = ("core", "cli", "plugins", "agent", "cni", "deploy/image", "pyproject.toml")
EPOCH = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Product:
    """A built image. *manifest* is its digest; *below* is the key of all its layers but the last."""

    key: str
    manifest: str
    below: str
    full: str
    thin: str


def exists() -> bool:
    """Whether this checkout has an image definition."""
    return DOCKERFILE.exists()


def context_key() -> str:
    """Changes with everything that goes into the image."""
    return key_of(product_root().key(), key_of_files(CHECKOUT / name for name in CONTEXT))


def record(cache: Cache) -> Path:
    return cache.images / "product" / "product.json"


def current(cache: Cache) -> Product | None:
    """The image that was built last."""
    try:
        return Product(**json.loads(record(cache).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def fresh(cache: Cache) -> bool:
    """Whether the last image is of the code as it is now."""
    product = current(cache)
    return product is not None and product.key == context_key() and (cache.images / "product" / product.thin).exists()


class Buildah:
    """buildah with its storage in the cache, away from the user's own."""

    def __init__(self, cache: Cache, log: Path) -> None:
        self.cache, self.log = cache, log
        self.home = cache.top / "buildah"

    def __call__(self, *arguments: str | Path, logged: bool = True) -> str:
        self.home.mkdir(parents=True, exist_ok=True)
        policy = self.home / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        storage: list[str | Path] = ["--root", self.home / "root", "--runroot", self.home / "run", "--storage-driver", "overlay"]
        verb, *rest = arguments
        policies: list[str | Path] = ["--signature-policy", policy] if verb in ("pull", "bud", "push") else []
        # The mount namespace is buildah's own: it leaves mounts of its storage behind.
        return run(enclosed(["buildah", *storage, verb, *policies, *rest]), log=self.log if logged else None)


def build_product(cache: Cache, log: Path) -> Product:
    """Builds the image unless it is of the present code. Raises ``CommandFailed`` with buildah's words."""
    made = current(cache)
    if made and fresh(cache):
        return made
    folder = cache.images / "product"
    folder.mkdir(parents=True, exist_ok=True)
    key = context_key()
    buildah = Buildah(cache, log)
    context = stage_context(folder / "context", log)
    base = import_base(cache, buildah)
    trust = host.TRUST.resolve()
    pip = folder / "pip.conf"
    pip.write_text(host.pip_configuration(Path(sys.executable)) + (f"cert = {host.TRUST}\n" if trust.exists() else ""))
    pip.chmod(0o600)
    volumes = ["--volume", f"{pip}:/etc/pip.conf:ro"] + (["--volume", f"{trust}:{host.TRUST}:ro"] if trust.exists() else [])
    tag, dockerfile = "localhost/ovnloom:dev", context / DOCKERFILE.relative_to(CHECKOUT)
    buildah("bud", "--isolation", "chroot", "--layers", *volumes, "--build-arg", f"BASE={base}", "-t", tag, "-f", dockerfile, context)
    layout = folder / "layout"
    (layout / "index.json").unlink(missing_ok=True)  # blobs stay: only new ones are written
    buildah("push", "--disable-compression", tag, f"oci:{layout}:dev")
    product = write_archives(folder, oci.Layout(layout), key)
    record(cache).write_text(json.dumps({name: getattr(product, name) for name in product.__slots__}) + "\n")
    return product


def stage_context(folder: Path, log: Path) -> Path:
    """The build's context: a copy of what the Dockerfile takes, and the CNI programs, with fixed times and modes.

    A layer is found again by its content *and* times; those of a fresh clone are new.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in CONTEXT:
        source, target = CHECKOUT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    run([sys.executable, "-m", "ovnloom.cni.build", folder / "build" / "cni"], cwd=CHECKOUT, log=log)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (EPOCH, EPOCH))
    return folder


def import_base(cache: Cache, buildah: Buildah) -> str:
    """Gives buildah the Debian folder as an image; returns its name."""
    root = product_root()
    name = f"localhost/ovnloom-base:{root.key()}"
    if not knows(buildah, "inspect", "--type", "image", name):
        archive = cache.images / "product" / "base.tar"
        oci.write_image(archive, oci.Image(name, (base_layer(cache, root),), command=("/bin/sh",)))
        identity = buildah("pull", f"oci-archive:{archive}", logged=False).strip().splitlines()[-1]
        buildah("tag", identity, name)
        archive.unlink()
    return name


def knows(buildah: Buildah, *arguments: str) -> bool:
    try:
        buildah(*arguments, logged=False)
    except CommandFailed:
        return False
    return True


def write_archives(folder: Path, layout: oci.Layout, key: str) -> Product:
    """The full and the thin archive of the image in *layout*; older ones are removed."""
    manifest, config, layers = layout.parts()
    below = key_of(*(layer.digest for layer in layers[:-1]))
    full, thin = f"{below}-{manifest.digest[:12]}.tar", f"{manifest.digest[:12]}-thin.tar"
    oci.write_archive(folder / thin, NAME, manifest, [config, layers[-1]])
    oci.write_archive(folder / full, NAME, manifest, [config, *layers])
    for old in folder.glob("*.tar"):
        if old.name not in (full, thin):
            old.unlink()
    keep = {blob.digest for blob in (manifest, config, *layers)}
    for blob in (layout.folder / "blobs" / "sha256").iterdir():
        if blob.name not in keep:
            blob.unlink()
    return Product(key, manifest.digest, below, full, thin)
