"""The inner loop: changed Python reaches every pod of the product within seconds."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ovnloom.sandbox import build, product, store
from ovnloom.sandbox.cluster import kubectl
from ovnloom.sandbox.command import CommandFailed
from ovnloom.sandbox.container import Machine
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.progress import Board
from ovnloom.sandbox.ready import until

# The pods that run Python of ours. The others (OVN, OVS) keep the traffic going and are not touched.
SELECTORS = ("app=kube-ovn-controller", "app=kube-ovn-cni")
NAMESPACE = "kube-system"


def replace_pods(plan: Plan) -> list[str]:
    """Imports the present image into every node and deletes the pods of ours; returns the names of the deleted ones."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda node: store.load_newer(Machine(plan, node)), plan.nodes))
    gone: list[str] = []
    for selector in SELECTORS:
        gone += kubectl(plan, "-n", NAMESPACE, "delete", "pod", "-l", selector, "--grace-period=1", "--wait=false", "-o", "name").split()
    return gone


def bring(plan: Plan, board: Board) -> bool:
    """Builds the image when the code changed, and replaces the pods. Returns False when nothing changed."""
    if product.fresh(plan.cache) and not stale(plan):
        return False
    build.build_image(plan.cache, board)
    with board.step("pods replaced"):
        replace_pods(plan)
        for kind, name in (("deployment", "kube-ovn-controller"), ("daemonset", "kube-ovn-cni")):
            kubectl(plan, "-n", NAMESPACE, "rollout", "status", f"{kind}/{name}", "--timeout=120s")
    return True


def stale(plan: Plan) -> bool:
    """Whether any node has an image of other code."""
    made = product.current(plan.cache)
    if made is None:
        return True
    memos = [Machine(plan, node).folder / store.PRODUCT for node in plan.nodes]
    return any(not memo.exists() or memo.read_text() != store.stamp(made) for memo in memos)


def differs(known: str) -> bool:
    """Whether the code is no longer that of the key *known*."""
    return product.context_key() != known


def watch(plan: Plan, board: Board) -> None:
    """Brings every change until interrupted. A build that fails is said, and the next change tried."""
    while True:
        until(partial(differs, product.context_key()), "a change", math.inf)
        try:
            bring(plan, board)
        except CommandFailed as error:
            board.say(str(error))
