"""OCI archives as the image specification has them; whole, thin, and with the last layer exchanged."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ovnloom.sandbox import oci

NAME = "registry.example/team/thing:1"


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # only files are in it


def described(files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Index entry, manifest, config."""
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files["blobs/sha256/" + entry["digest"].removeprefix("sha256:")])
    config = json.loads(files["blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")])
    return entry, manifest, config


def two_layers(tmp_path: Path) -> oci.Image:
    lower = oci.pack_layer(folder(tmp_path / "lower", base="b"), tmp_path / "lower.tar")
    upper = oci.pack_layer(folder(tmp_path / "upper", code="c"), tmp_path / "upper.tar")
    return oci.Image(NAME, (lower, upper), entrypoint=("/run",), command=("now",))


def test_every_blob_is_what_its_name_says(tmp_path: Path) -> None:
    oci.write_image(tmp_path / "image.tar", two_layers(tmp_path))
    files = content(tmp_path / "image.tar")
    blobs = {name.rpartition("/")[2]: data for name, data in files.items() if name.startswith("blobs/")}
    assert len(blobs) == 4
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}


def test_the_manifest_lists_the_layers_in_order_with_their_sizes(tmp_path: Path) -> None:
    image = two_layers(tmp_path)
    oci.write_image(tmp_path / "image.tar", image)
    entry, manifest, config = described(content(tmp_path / "image.tar"))
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [(f"sha256:{b.digest}", b.size) for b in image.layers]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert config["config"]["Entrypoint"] == ["/run"] and config["config"]["Cmd"] == ["now"]
    assert entry["annotations"]["io.containerd.image.name"] == NAME
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1"


def test_equal_folders_give_equal_layers(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", a="1", b="2"), folder(tmp_path / "other", b="2", a="1")
    (one / "a").touch()
    assert oci.pack_layer(one, tmp_path / "1.tar").digest == oci.pack_layer(other, tmp_path / "2.tar").digest
    (other / "b").write_text("3")
    assert oci.pack_layer(one, tmp_path / "1.tar").digest != oci.pack_layer(other, tmp_path / "2.tar").digest


def test_bytecode_stays_in_a_layer(tmp_path: Path) -> None:
    """Without it every start of a program in a read-only image compiles the standard library again."""
    (tmp_path / "f" / "__pycache__").mkdir(parents=True)
    (tmp_path / "f" / "__pycache__" / "x.pyc").touch()
    oci.pack_layer(tmp_path / "f", tmp_path / "f.tar")
    with tarfile.open(tmp_path / "f.tar") as tar:
        assert "./__pycache__/x.pyc" in tar.getnames()


def test_what_debian_mounts_over_is_left_out(tmp_path: Path) -> None:
    top = tmp_path / "root"
    for name in ("etc", "dev", "proc", "usr/dev"):
        folder(top / name, file="x")
    (top / "etc" / "os-release").touch()
    oci.pack_layer(top, tmp_path / "root.tar")
    with tarfile.open(tmp_path / "root.tar") as tar:
        names = tar.getnames()
    assert "./dev" in names and "./dev/file" not in names and "./proc/file" not in names and "./usr/dev/file" in names


def layout(tmp_path: Path) -> oci.Layout:
    """As `buildah push … oci:FOLDER` leaves it: an unpacked archive."""
    oci.write_image(tmp_path / "image.tar", two_layers(tmp_path))
    (tmp_path / "layout").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "image.tar", "-C", tmp_path / "layout"], check=True)
    return oci.Layout(tmp_path / "layout")


def test_a_thin_archive_is_the_whole_one_without_the_lower_layers(tmp_path: Path) -> None:
    manifest, config, layers = layout(tmp_path).parts()
    oci.write_archive(tmp_path / "thin.tar", NAME, manifest, [config, layers[-1]])
    whole, thin = content(tmp_path / "image.tar"), content(tmp_path / "thin.tar")
    assert set(whole) - set(thin) == {f"blobs/sha256/{layers[0].digest}"}
    assert described(thin)[1:] == described(whole)[1:]


def test_the_last_layer_is_exchanged_and_nothing_else(tmp_path: Path) -> None:
    place = layout(tmp_path)
    _, _, before = place.parts()
    place.replace_last_layer(oci.pack_layer(folder(tmp_path / "new", code="changed"), tmp_path / "new.tar"))
    place.prune()
    manifest, config, after = place.parts()
    assert after[0].digest == before[0].digest and after[1].digest != before[1].digest
    assert not (place.folder / "blobs" / "sha256" / before[1].digest).exists()
    oci.write_archive(tmp_path / "whole.tar", NAME, manifest, [config, *after])
    files = content(tmp_path / "whole.tar")
    assert all(hashlib.sha256(data).hexdigest() == name.rpartition("/")[2] for name, data in files.items() if name.startswith("blobs/"))
    _, described_manifest, described_config = described(files)
    assert described_config["rootfs"]["diff_ids"] == [layer["digest"] for layer in described_manifest["layers"]]
    assert described_config["config"]["Entrypoint"] == ["/run"]


def test_a_layout_of_two_images_is_refused(tmp_path: Path) -> None:
    place = layout(tmp_path)
    index = json.loads((place.folder / "index.json").read_text())
    index["manifests"] *= 2
    (place.folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="2 images"):
        place.parts()
