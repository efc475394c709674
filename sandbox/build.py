"""Everything a bed stands on, made once and kept in the cache: programs, Debian folders, images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ovnloom.sandbox import golang, host, images, product, roots, store
from ovnloom.sandbox.paths import Cache
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.progress import Board, Step, run_steps

# About what each Go module puts out while it is built from nothing: lines of `go build -v`, for the bars.
COMPILED = {"etcd": 460, "kubernetes": 2150, "helm": 1000, "coredns": 2300}


def build_all(plan: Plan, board: Board, *, install: bool, with_product: bool = True) -> None:
    """Makes what is missing. Raises ``NotReady`` or ``CommandFailed``; nothing half-made is ever used."""
    cache = plan.cache
    build_base(cache, board, install=install)
    with cache.lock("build"):
        log = fresh_log(cache, "images")
        if any(not images.support_archive(cache, image).exists() for image in images.support_images()):
            with board.live(), board.step("images of Kubernetes and its suite", log):
                images.build_support(cache)
        made = build_image(cache, board) if with_product and product.exists() else product.current(cache)
        if not (cache.store / store.store_key(made)).exists():
            with board.live(), board.step("images unpacked for all nodes"):
                store.seed(plan, made)
        store.select(cache, made)


def complete(cache: Cache) -> bool:
    """Whether a bare bed could boot at once."""
    wanted = [roots.node_root(), roots.tools_root()]
    return all(root.ready(cache) for root in wanted) and all(module.path(cache).exists() for module in golang.modules())


def build_base(cache: Cache, board: Board, *, install: bool) -> None:
    """Programs and Debian folders alone: what tests need that start no bed."""
    host.require(board, install=install)
    with cache.lock("build"):
        run_steps(board, base_steps(cache))


def build_image(cache: Cache, board: Board) -> product.Product:
    """The product's image of the present code."""
    if not product.fresh(cache):
        log = fresh_log(cache, "product")
        with board.live(), board.step("image of ovnloom", log):
            return product.build_product(cache, log)
    made = product.current(cache)
    assert made
    return made


def fresh_log(cache: Cache, name: str) -> Path:
    cache.logs.mkdir(parents=True, exist_ok=True)
    log = cache.logs / f"{name}.log"
    log.write_text("")
    return log


def base_steps(cache: Cache) -> list[Step]:
    """The steps of what is missing: Debian folders beside the Go programs, which mostly wait for the network in turn."""
    wanted = [roots.node_root(), roots.tools_root()] + ([roots.product_root()] if product.exists() else [])
    steps = []
    for root in wanted:
        if root.ready(cache):
            roots.make_root(cache, root, Path("/dev/null"))  # the link alone
            continue
        log = fresh_log(cache, f"root-{root.name}")
        steps.append(Step(f"Debian folder {root.name}", partial(roots.make_root, cache, root, log), log=log))
    steps += go_steps(cache)
    if not (cache.images / "pause").exists():
        log = fresh_log(cache, "pause")
        steps.append(Step("pause", partial(images.build_pause, cache, log), log=log))
    return steps


def go_steps(cache: Cache) -> list[Step]:
    modules = golang.modules()
    missing = [module for module in modules if not module.path(cache).exists()]
    if not missing:
        golang.assemble(cache, modules)
        return []
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    if golang.host_go() is None:
        log = fresh_log(cache, "root-golang")
        root = golang.Toolchain(cache, log)
        before = ("Debian folder golang",)
        steps.append(Step(before[0], root.prepare, log=log))
    for module in missing:
        log = fresh_log(cache, f"go-{module.name}")
        name = f"Go programs of {module.name}"
        work = partial(golang.build_module, cache, module, golang.Toolchain(cache, log))
        steps.append(Step(name, work, needs=before, log=log, done=partial(compiled, log, COMPILED[module.name])))
        before = (name,)  # one compiler at a time: each uses all CPUs
    steps.append(Step("programs together", partial(golang.assemble, cache, modules), needs=before))
    return steps


def compiled(log: Path, expected: int) -> float:
    """How much of a module is compiled, from the lines of its log."""
    try:
        return min(0.99, log.read_bytes().count(b"\n") / expected)
    except OSError:
        return 0.0
