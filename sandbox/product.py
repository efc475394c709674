"""The product's image, built by buildah from the Dockerfile that registry users build too.

Its lowest layer is a Debian folder of ours instead of `debian:…`; its last layer is the source code alone. So after a change of
code only that layer is imported into nodes that hold the others: the *thin* archive. And that layer is then made here, without
buildah, in the way of the Dockerfile's last stage: two seconds instead of ten.
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
from ovnloom.sandbox.images import base_layer, base_name
from ovnloom.sandbox.paths import CHECKOUT, HERE, Cache, key_of, key_of_files
from ovnloom.sandbox.roots import product_root

NAME = "docker.io/ovnloom/ovnloom:dev"
DOCKERFILE = CHECKOUT / "deploy" / "image" / "Dockerfile"
# What the last layer is made of, by top folder, and what the layers below it are made of.
SOURCES = ("core", "cli", "plugins", "agent", "cni")
LOWER = ("cni", "deploy/image", "pyproject.toml")
EPOCH = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Product:
    """A built image. *key* is of everything it is made of, *lower* of what its layers but the last are made of.

    *manifest* is its digest; *below* is the key of all its layers but the last.
    """

    key: str
    lower: str
    manifest: str
    below: str


def exists() -> bool:
    """Whether this checkout has an image definition."""
    return DOCKERFILE.exists()


def context_key() -> str:
    """Changes with everything that goes into the image."""
    return key_of(base_name(product_root()), key_of_files(CHECKOUT / name for name in sorted({*SOURCES, *LOWER})))


def lower_key() -> str:
    """Changes with what goes into the layers below the last."""
    return key_of(base_name(product_root()), key_of_files(CHECKOUT / name for name in LOWER))


def thin_archive(cache: Cache, product: Product) -> Path:
    """The image without the layers below the last."""
    return cache.images / "product" / f"{product.manifest[:12]}-thin.tar"


def full_archive(cache: Cache, product: Product) -> Path:
    """The whole image, written when it is first asked for."""
    target = cache.images / "product" / f"{product.manifest[:12]}.tar"
    if not target.exists():
        manifest, config, layers = layout_of(cache).parts()
        oci.write_archive(target, NAME, manifest, [config, *layers])
    return target


def layout_of(cache: Cache) -> oci.Layout:
    return oci.Layout(cache.images / "product" / "layout")


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
    return product is not None and product.key == context_key() and thin_archive(cache, product).exists()


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
    (cache.images / "product").mkdir(parents=True, exist_ok=True)
    key, lower, layout = context_key(), lower_key(), layout_of(cache)
    if made and made.lower == lower and (layout.folder / "index.json").exists():
        layout.replace_last_layer(source_layer(cache, log))
    else:
        build_with_buildah(cache, log)
    manifest, config, layers = layout.parts()
    product = Product(key, lower, manifest.digest, key_of(*(layer.digest for layer in layers[:-1])))
    for old in (cache.images / "product").glob("*.tar"):
        old.unlink()
    oci.write_archive(thin_archive(cache, product), NAME, manifest, [config, layers[-1]])
    layout.prune()
    record(cache).write_text(json.dumps({name: getattr(product, name) for name in product.__slots__}) + "\n")
    return product


def source_layer(cache: Cache, log: Path) -> oci.Blob:
    """The last layer: the sources, and their bytecode made by the image's Python, which trusts its hash of the source."""
    folder = cache.images / "product" / "sources"
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "opt" / "ovnloom" / "src" / "ovnloom"
    target.mkdir(parents=True)
    for name in SOURCES:
        copy(CHECKOUT / name, target / name)
    scratch = cache.images / "product" / "scratch"
    scratch.mkdir(exist_ok=True)
    inside: list[str | Path] = ["sh", HERE / "programs" / "inside.sh", product_root().path(cache), scratch, folder, folder, "--"]
    compiler: list[str | Path] = [
        "python3",
        "-m",
        "compileall",
        "-q",
        "--invalidation-mode",
        "checked-hash",
        "-s",
        folder,
        "-p",
        "/",
        folder,
    ]
    run(enclosed([*inside, *compiler]), log=log)
    fix_modes(folder)
    return oci.pack_layer(folder, folder.with_suffix(".layer"))


def copy(source: Path, target: Path) -> None:
    """A file or a folder, without Python's caches."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def fix_modes(folder: Path) -> None:
    """Times and modes that say nothing of this checkout: a layer is found again by them too."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (EPOCH, EPOCH))


def build_with_buildah(cache: Cache, log: Path) -> None:
    """All layers, by the Dockerfile, into the layout."""
    folder = cache.images / "product"
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
    layout = layout_of(cache)
    (layout.folder / "index.json").unlink(missing_ok=True)  # blobs stay: only new ones are written
    buildah("push", "--disable-compression", tag, f"oci:{layout.folder}:dev")


def stage_context(folder: Path, log: Path) -> Path:
    """The build's context: a copy of what the Dockerfile takes, and the CNI programs."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in sorted({*SOURCES, *LOWER}):
        copy(CHECKOUT / name, folder / name)
    run([sys.executable, "-m", "ovnloom.cni.build", folder / "build" / "cni"], cwd=CHECKOUT, log=log)
    fix_modes(folder)
    return folder


def import_base(cache: Cache, buildah: Buildah) -> str:
    """Gives buildah the Debian folder as an image; returns its name."""
    root = product_root()
    name = f"localhost/ovnloom-base:{base_name(root)}"
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
