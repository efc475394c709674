"""Bare Kubernetes: control plane and nodes, no network for pods. The nodes are NotReady until a product is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ovnloom.sandbox import container, network, pki, settings, store
from ovnloom.sandbox.command import run, start, succeeds
from ovnloom.sandbox.container import Machine
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.progress import Board
from ovnloom.sandbox.ready import until

CONTROL_PLANE: dict[str, Callable[[Plan], list[str]]] = {
    "etcd": settings.etcd_command,
    "kube-apiserver": settings.apiserver_command,
}
CONTROLLERS: dict[str, Callable[[Plan], list[str]]] = {
    "kube-controller-manager": settings.controller_manager_command,
    "kube-scheduler": settings.scheduler_command,
}


def kubectl_argv(plan: Plan, *arguments: str) -> list[str]:
    """kubectl from the bed's `lan`, as a machine beside the cluster."""
    return in_lan(plan, str(plan.bin / "kubectl"), f"--kubeconfig={plan.kubeconfig}", *arguments)


def in_lan(plan: Plan, *argv: str) -> list[str]:
    return ["ip", "netns", "exec", plan.space("lan"), *argv]


def kubectl(plan: Plan, *arguments: str, stdin: str = "", timeout: float | None = None) -> str:
    """Raises ``CommandFailed``."""
    return run(kubectl_argv(plan, *arguments), stdin=stdin, timeout=timeout)


def start_all(plan: Plan, programs: dict[str, Callable[[Plan], list[str]]]) -> None:
    """In the namespace of node1: the API server must reach pod addresses (webhooks, `pods/proxy`, aggregated APIs)."""
    for name, command in programs.items():
        start(["ip", "netns", "exec", plan.space("node1"), *command(plan)], plan.logs / f"{name}.log")


def boot_bare(plan: Plan, board: Board) -> None:
    """Boots the whole bed; the folder of *plan* must not exist. Ends when every node is registered."""
    plan.logs.mkdir(parents=True)
    store.stand_on(plan)
    with board.step("certificates, networks"):
        pki.make_pki(plan)
        network.make_lan(plan)
        network.make_nics(plan, "node1")
    with board.step("control plane and container runtimes"), ThreadPoolExecutor(4) as pool:
        (plan.folder / "etcd").mkdir(mode=0o700)
        start_all(plan, CONTROL_PLANE)
        boots = [pool.submit(boot_machine, plan, node) for node in plan.nodes]
        until(lambda: succeeds(kubectl_argv(plan, "get", "--raw", "/readyz"), timeout=5), "the API server", 90)
        start_all(plan, CONTROLLERS)
        for boot in boots:
            boot.result()
    with board.step(f"{len(plan.nodes)} nodes registered"):
        for node in plan.nodes:
            start_kubernetes(plan, node)
        wait_registered(plan, plan.nodes)


def boot_machine(plan: Plan, node: str) -> None:
    """The machine with its container runtime: what a fresh server has before Kubernetes."""
    machine = Machine(plan, node)
    if not Path(f"/run/netns/{plan.space(node)}").exists():
        network.make_nics(plan, node)
    container.lay_out(machine)
    for name in ("ca.crt", f"{node}.crt", f"{node}.key", f"{node}.kubeconfig", "proxy.kubeconfig"):
        shutil.copyfile(plan.pki / name, machine.root / "pki" / name)
    (machine.root / "etc/kubelet.json").write_text(settings.kubelet(node))
    (machine.root / "etc/kube-proxy.json").write_text(settings.kube_proxy(plan, node))
    shared = store.of_bed(plan)
    store.share(shared, machine)
    container.boot(machine, machine.folder / "containerd", shared)
    start_containerd(machine)
    store.load_newer(machine)


def start_containerd(machine: Machine) -> None:
    container.launch(machine, ["containerd"], "containerd")
    until(lambda: succeeds(["runc", "exec", machine.container, "ctr", "version"], timeout=5), f"{machine.name}: containerd", 60)


def start_kubernetes(plan: Plan, node: str) -> None:
    machine = Machine(plan, node)
    container.launch(machine, settings.kubelet_command(plan, node), "kubelet")
    container.launch(machine, ["kube-proxy", "--config=/etc/kube-proxy.json", "-v=2"], "kube-proxy")


def wait_registered(plan: Plan, nodes: list[str]) -> None:
    def registered() -> bool:
        names = run(kubectl_argv(plan, "get", "nodes", "-o", "name"), check=False, timeout=10).split()
        return {f"node/{node}" for node in nodes} <= set(names)

    until(registered, "registration of the nodes", 90)


def boot_node(plan: Plan, node: str) -> None:
    """Boots a node again after ``teardown.down_node``, with an empty disk and the same certificates."""
    boot_machine(plan, node)
    start_kubernetes(plan, node)
    wait_registered(plan, [node])


def kubernetes_environment(plan: Plan) -> dict[str, str]:
    """For programs that speak to the cluster from inside `lan`."""
    return {"KUBECONFIG": str(plan.kubeconfig), "PATH": f"{plan.bin}:{os.environ['PATH']}"}
