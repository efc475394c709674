"""The images beside the product's: what Kubernetes and its end-to-end suite ask for, under the names they ask for."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovnloom.sandbox import golang, oci
from ovnloom.sandbox.command import run
from ovnloom.sandbox.paths import HERE, Cache, key_of, key_of_files
from ovnloom.sandbox.roots import Root, tools_root
from ovnloom.sandbox.settings import PAUSE

SUITE = "registry.k8s.io/e2e-test-images"
AGNHOST = f"{SUITE}/agnhost:2.56"
COREDNS = "registry.k8s.io/coredns/coredns:v1.12.1"
RECIPE = "1"  # to be raised when a function below fills a folder differently


@dataclass(frozen=True, slots=True)
class Support:
    """One image: a Debian folder below (or nothing), and a layer that *fill* makes from the cache."""

    short: str
    name: str
    fill: Callable[[Cache, Path], None]
    below: Root | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def support_images() -> list[Support]:
    below = tools_root()
    return [
        Support("pause", PAUSE, fill_pause, entrypoint=("/pause",)),
        Support("busybox", f"{SUITE}/busybox:1.37.0-1", fill_busybox, command=("sh",)),
        Support("coredns", COREDNS, fill_coredns, entrypoint=("/coredns",)),
        Support("agnhost", AGNHOST, fill_agnhost, below, entrypoint=("/agnhost",), command=("pause",)),
        Support("dnsutils", f"{SUITE}/jessie-dnsutils:1.7", fill_nothing, below, command=("sleep", "infinity")),
    ]


def build_pause(cache: Cache, log: Path) -> None:
    """`images/pause`: a static program, compiled by the zig compiler of the Python environment."""
    source = HERE / "programs" / "pause.c"
    target, memo = cache.images / "pause", cache.images / "pause.key"
    key = key_of_files([source])
    if target.exists() and memo.exists() and memo.read_text() == key:
        return
    cache.images.mkdir(parents=True, exist_ok=True)
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[oci.architecture()]
    flags = ["-target", f"{machine}-linux-musl", "-static", "-Os", "-s"]
    fresh = target.with_suffix(".part")
    run([sys.executable, "-m", "ziglang", "cc", *flags, "-o", fresh, source], log=log, env={"ZIG_GLOBAL_CACHE_DIR": str(cache.top / "zig")})
    fresh.replace(target)
    memo.write_text(key)


def fill_pause(cache: Cache, folder: Path) -> None:
    shutil.copy2(cache.images / "pause", folder / "pause")


def fill_coredns(cache: Cache, folder: Path) -> None:
    shutil.copy2(cache.bin / "current" / "coredns", folder / "coredns")


def fill_nothing(cache: Cache, folder: Path) -> None:
    (folder / ".empty").touch()


def fill_busybox(cache: Cache, folder: Path) -> None:
    """The host's static busybox. An image of its own, so a real `bin` hides nothing."""
    for name in ("bin", "etc", "root", "tmp"):
        (folder / name).mkdir()
    (folder / "tmp").chmod(0o1777)
    program = shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("busybox is not on PATH")
    shutil.copy2(program, folder / "bin" / "busybox")
    for applet in run([program, "--list"]).split():
        if applet != "busybox":
            (folder / "bin" / applet).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (folder / "etc" / "group").write_text("root:x:0:\n")


def fill_agnhost(cache: Cache, folder: Path) -> None:
    """agnhost with what its specs expect beside it: a second name, an upload folder, a certificate for the https proxy."""
    programs = cache.bin / "current"
    shutil.copy2(programs / "agnhost", folder / "agnhost")
    (folder / "agnhost-2").symlink_to("agnhost")
    (folder / "uploads").mkdir()
    for name in ("localhost.crt", "localhost.key"):
        shutil.copy2(programs / name, folder / name)
        (folder / name).chmod(0o644)


def base_name(root: Root) -> str:
    return f"{root.name}-{root.key()}-{oci.FORMAT}"


def base_layer(cache: Cache, root: Root) -> oci.Blob:
    """The layer of a Debian folder: packed once."""
    tar = cache.images / "layers" / f"{base_name(root)}.tar"
    memo = tar.with_suffix(".sha256")
    if tar.exists() and memo.exists():
        return oci.Blob(memo.read_text(), tar.stat().st_size, tar)
    blob = oci.pack_layer(root.path(cache), tar)
    memo.write_text(blob.digest)
    return blob


def support_key() -> str:
    """Changes when any of these images would."""
    programs = [module.key() for module in golang.modules()]
    return key_of(
        RECIPE, repr([image.name for image in support_images()]), tools_root().key(), *programs, key_of_files([HERE / "programs"])
    )


def support_archive(cache: Cache, image: Support) -> Path:
    return cache.images / f"support-{support_key()}" / f"{image.short}.tar"


def build_support(cache: Cache) -> None:
    """Writes the archives of all support images that are not there."""
    for image in support_images():
        target = support_archive(cache, image)
        if target.exists():
            continue
        folder = target.with_suffix(".folder")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        image.fill(cache, folder)
        layers = [base_layer(cache, image.below)] if image.below else []
        tar = target.with_suffix(".layer")
        layers.append(oci.pack_layer(folder, tar))
        oci.write_image(target, oci.Image(image.name, tuple(layers), image.entrypoint, image.command))
        shutil.rmtree(folder)
        tar.unlink()
