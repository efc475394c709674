"""All images unpacked once, in a containerd folder that every node shares: a node pays neither time nor space for them.

A node gets copies of containerd's two databases, hard links to the blobs, and symbolic links to the unpacked layers, which are
mounted read-only at /store. A store never changes; other images make another store.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ovnloom.sandbox import container, images, product, teardown
from ovnloom.sandbox.command import remove_tree, succeeds
from ovnloom.sandbox.container import Machine
from ovnloom.sandbox.paths import Cache, key_of, point
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.ready import until
from ovnloom.sandbox.roots import node_root

METADATA = "io.containerd.metadata.v1.bolt/meta.db"
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
BLOBS = "io.containerd.content.v1.content/blobs/sha256"
PRODUCT = "product"  # a file beside the databases: which image of the product is inside


def store_key(made: product.Product | None) -> str:
    """Code is not in it: the product's last layer is imported by each node when the store's is another."""
    return key_of(node_root().key(), images.support_key(), made.below if made else "")


def current(cache: Cache) -> Path:
    return (cache.store / "current").resolve()


def seed(plan: Plan, made: product.Product | None) -> None:
    """Makes the store for the present images unless it is there, in a throw-away container of *plan*."""
    cache = plan.cache
    path = cache.store / store_key(made)
    if not path.exists():
        fresh = path.with_name(path.name + ".part")
        succeeds(["runc", "delete", "-f", plan.space("seed")])
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        fill(Machine(plan, "seed"), fresh, made)
        fresh.replace(path)


def select(cache: Cache, made: product.Product | None) -> None:
    """Makes the store for the present images the one that new beds stand on."""
    path = cache.store / store_key(made)
    point(cache.store / "current", path)
    remove_unused(cache, path)


def fill(machine: Machine, folder: Path, made: product.Product | None) -> None:
    container.lay_out(machine)
    container.boot(machine, folder, None, network=False)
    try:
        container.launch(machine, ["containerd"], "containerd")
        until(lambda: succeeds(["runc", "exec", machine.container, "ctr", "version"], timeout=5), "containerd of the image store", 60)
        archives = [images.support_archive(machine.plan.cache, image) for image in images.support_images()]
        if made:
            archives.append(product.full_archive(machine.plan.cache, made))
        for archive in archives:
            import_archive(machine, archive)
        if made:
            (folder / PRODUCT).write_text(stamp(made))
        # An orderly end: the databases must be whole.
        container.execute(machine, ["pkill", "-TERM", "-x", "containerd"])
        until(lambda: not succeeds(["runc", "exec", machine.container, "pgrep", "-x", "containerd"]), "end of containerd", 20)
    finally:
        succeeds(["runc", "delete", "-f", machine.container])
        succeeds(["umount", "-l", str(machine.root)])
        shutil.rmtree(machine.folder, ignore_errors=True)
        for empty in (machine.folder.parent, machine.plan.folder, *teardown.our_cgroups(machine.plan)):
            with contextlib.suppress(OSError):  # a bed of that name is up
                empty.rmdir()


def import_archive(machine: Machine, archive: Path) -> None:
    inside = Path("/images") / archive.relative_to(machine.plan.cache.images)
    container.execute(machine, ["ctr", "-n", "k8s.io", "images", "import", str(inside)])


def stamp(made: product.Product) -> str:
    return f"{made.below} {made.manifest}"


def load_newer(machine: Machine) -> bool:
    """Imports the product's image when the node's is of other code; only the last layer when that is what differs.

    Returns whether there was anything to import.
    """
    made = product.current(machine.plan.cache)
    memo = machine.folder / PRODUCT
    present = memo.read_text() if memo.exists() else ""
    if made is None or present == stamp(made):
        return False
    archive = product.thin_archive if present.split(" ")[0] == made.below else product.full_archive
    import_archive(machine, archive(machine.plan.cache, made))
    memo.write_text(stamp(made))
    return True


def share(store: Path, machine: Machine) -> None:
    """Makes the containerd folder of *machine* from *store*."""
    target = machine.folder / "containerd"
    for name in (METADATA, f"{SNAPSHOTTER}/metadata.db"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / name, target / name)
    (target / BLOBS).mkdir(parents=True)
    for blob in (store / BLOBS).iterdir():
        os.link(blob, target / BLOBS / blob.name)
    (target / SNAPSHOTTER / "snapshots").mkdir()
    for snapshot in (store / SNAPSHOTTER / "snapshots").iterdir():
        (target / SNAPSHOTTER / "snapshots" / snapshot.name).symlink_to(f"/store/{SNAPSHOTTER}/snapshots/{snapshot.name}")
    if (store / PRODUCT).exists():
        shutil.copyfile(store / PRODUCT, machine.folder / PRODUCT)


def remove_unused(cache: Cache, keep: Path) -> None:
    """Removes the stores no bed stands on; each bed's folder holds a link to its own."""
    used = {keep.resolve(), *(link.resolve() for link in cache.beds.glob("*/store"))}
    for old in cache.store.iterdir():
        if not old.is_symlink() and old.resolve() not in used:
            remove_tree(old)


def stand_on(plan: Plan) -> None:
    """Binds a bed to the present store, for as long as its folder exists."""
    point(plan.folder / "store", current(plan.cache))


def of_bed(plan: Plan) -> Path:
    return (plan.folder / "store").resolve()
