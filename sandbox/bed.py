"""A bed's life: up, down, status."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ovnloom.sandbox import build, cluster, install, product, teardown
from ovnloom.sandbox.command import CommandFailed
from ovnloom.sandbox.plan import BadPlan, Options, Plan, load_plan
from ovnloom.sandbox.progress import Board


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the API server and the kernel show it."""

    name: str
    ready: bool
    addresses: tuple[str, ...]
    version: str
    container: bool


def nodes(plan: Plan) -> list[Node]:
    """Raises ``CommandFailed`` when the API server does not answer."""
    running = set(teardown.our_containers(plan))
    listing = json.loads(cluster.kubectl(plan, "get", "nodes", "-o", "json", "--request-timeout=5s", timeout=10))
    found = []
    for item in listing["items"]:
        name, status = item["metadata"]["name"], item["status"]
        ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status["conditions"])
        addresses = tuple(entry["address"] for entry in status["addresses"] if entry["type"] == "InternalIP")
        found.append(Node(name, ready, addresses, status["nodeInfo"]["kubeletVersion"], plan.space(name) in running))
    return found


def healthy(plan: Plan, *, bare: bool) -> bool:
    """Whether every node runs and, unless *bare*, is Ready."""
    try:
        present = nodes(plan)
    except CommandFailed:
        return False
    return {node.name for node in present} == set(plan.nodes) and all(node.container and (bare or node.ready) for node in present)


def up(plan: Plan, board: Board, *, install_packages: bool, bare: bool) -> bool:
    """Brings the bed up with the present code. Returns False when it was up already.

    Raises ``BadPlan`` when a healthy bed of that name has other options.
    """
    plan.cache.beds.mkdir(parents=True, exist_ok=True)
    with plan.cache.lock(f"bed-{plan.name}"):
        saved = load_plan(plan.cache, plan.name)
        if saved and healthy(saved[0], bare=bare or saved[1].get("bare") == "yes"):
            return refresh(plan, *saved, board, bare=bare)
        left = teardown.down(plan)
        if left:
            raise CommandFailed(["down"], 1, f"the old bed does not go away: {left}")
        build.build_all(plan, board, install=install_packages, with_product=not bare)
        cluster.boot_bare(plan, board)
        facts = {"bare": "yes" if bare else "no"}
        plan.save(facts)
        if not bare:
            plan.save(facts | install.install(plan, board))
        return True


def refresh(plan: Plan, saved: Plan, facts: dict[str, str], board: Board, *, bare: bool) -> bool:
    """A healthy bed: nothing to do, unless the code or the chart changed since."""
    was_bare = facts.get("bare") == "yes"
    if saved.options != plan.options or was_bare != bare:
        raise BadPlan(f"the bed {plan.name!r} runs with {describe(saved.options, was_bare)}; run down first, or give another --name")
    if bare or (facts.get("code") == product.context_key() and facts.get("chart") == install.chart_key(saved)):
        return False
    build.build_all(plan, board, install=False)
    plan.save(facts | install.upgrade(saved, board))
    return True


def describe(options: Options, bare: bool) -> str:
    return f"{options.nodes} nodes, {options.masters} masters, stack {options.stack}, proxy {options.proxy}" + (", bare" if bare else "")
