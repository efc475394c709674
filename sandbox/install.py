"""The product, installed as a user installs it: `helm upgrade --install`, then waiting for what a user waits for."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import product as pairs
from string import Template

from ovnloom.sandbox import product
from ovnloom.sandbox.cluster import in_lan, kubectl, kubectl_argv, kubernetes_environment
from ovnloom.sandbox.command import CommandFailed, run
from ovnloom.sandbox.paths import CHECKOUT, HERE, key_of_files
from ovnloom.sandbox.plan import Plan, number_of
from ovnloom.sandbox.progress import Board

CHART = CHECKOUT / "deploy" / "chart"
VALUES = HERE / "values.yaml"
NAMESPACE = "kube-system"
RELEASE = "ovnloom"
PATIENCE = "180s"
PORT = 8080


def chart_key(plan: Plan) -> str:
    """Changes with the chart and the bed's values."""
    return key_of_files([CHART, VALUES, HERE / "manifests"])


def facts(plan: Plan) -> dict[str, str]:
    """Which code and chart the bed runs."""
    made = product.current(plan.cache)
    return {"code": made.key if made else "", "chart": chart_key(plan)}


def install(plan: Plan, board: Board) -> dict[str, str]:
    """Installs the product and the test pods; returns the facts to remember. Raises ``CommandFailed``."""
    with board.live():
        with board.step("helm install"):
            kubectl(plan, "label", "--overwrite", "node", *plan.masters, "kube-ovn/role=master")
            helm(plan)
        with board.step("nodes Ready"):
            wait_nodes(plan)
        with board.step("CoreDNS and test pods"):
            kubectl(plan, "apply", "-f", "-", stdin=manifests(plan))
            wait_pods(plan)
        with board.step("pods talk"):
            check_pods(plan)
    return facts(plan)


def upgrade(plan: Plan, board: Board) -> dict[str, str]:
    """Brings the present chart and code to a bed that runs."""
    from ovnloom.sandbox import dev

    with board.live():
        with board.step("helm upgrade"):
            helm(plan)
            kubectl(plan, "apply", "-f", "-", stdin=manifests(plan))
        with board.step("pods with the present code"):
            dev.replace_pods(plan)
            wait_nodes(plan)
            wait_pods(plan)
        with board.step("pods talk"):
            check_pods(plan)
    return facts(plan)


def values(plan: Plan) -> dict[str, str]:
    """What the chart is told beside `sandbox/values.yaml`: what depends on the bed."""
    section = "dual_stack" if plan.dual else "ipv4"
    return {"networking.NET_STACK": section, f"{section}.POD_CIDR": plan.pods, f"{section}.SVC_CIDR": plan.services}


def helm(plan: Plan) -> None:
    stack = f"networking.NET_STACK={'dual_stack' if plan.dual else 'ipv4'}"
    argv = [str(plan.bin / "helm"), "upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(VALUES), "--set", stack]
    home = {f"HELM_{kind}_HOME": str(plan.folder / "helm") for kind in ("CACHE", "CONFIG", "DATA")}
    run(in_lan(plan, *argv), env=kubernetes_environment(plan) | home)


def wait_nodes(plan: Plan) -> None:
    try:
        kubectl(plan, "wait", "--for=condition=Ready", "node", "--all", f"--timeout={PATIENCE}")
    except CommandFailed as error:
        raise CommandFailed(["kubectl", "wait"], error.code, f"{error.output}\n{troubles(plan)}") from error


def wait_pods(plan: Plan) -> None:
    """Waits for the product's workloads, CoreDNS and the test pods."""
    try:
        for name in kubectl(plan, "-n", NAMESPACE, "get", "deployment", "-o", "name").split():
            kubectl(plan, "-n", NAMESPACE, "rollout", "status", name, f"--timeout={PATIENCE}")
        # `rollout status` knows no DaemonSet that is updated by deleting its pods
        everywhere = f"--for=jsonpath={{.status.numberReady}}={plan.options.nodes}"
        kubectl(plan, "-n", NAMESPACE, "wait", everywhere, "daemonset", "--all", f"--timeout={PATIENCE}")
        kubectl(plan, "wait", "--for=condition=Ready", "pod", "-l", "app=a", f"--timeout={PATIENCE}")
    except CommandFailed as error:
        raise CommandFailed(["kubectl", "wait"], error.code, f"{error.output}\n{troubles(plan)}") from error


def troubles(plan: Plan) -> str:
    """What somebody would look at first: pods that are not well, and the last warnings."""
    pods = run(kubectl_argv(plan, "get", "pods", "-A", "-o", "wide"), check=False)
    events = run(kubectl_argv(plan, "get", "events", "-A", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"), check=False)
    return "\n".join([pods.strip(), *events.strip().splitlines()[-8:]])


def manifests(plan: Plan) -> str:
    """CoreDNS, and one test pod per node: a1 on node1, a2 on node2, …"""
    folder = HERE / "manifests"
    pod = Template((folder / "pod.yaml").read_text())
    pods = [pod.substitute(name=f"a{number_of(node)}", node=node, port=PORT) for node in plan.nodes]
    return "\n---\n".join([(folder / "coredns.yaml").read_text(), (folder / "services.yaml").read_text(), *pods])


def check_pods(plan: Plan) -> None:
    """Every test pod reaches every other at each of its addresses. Raises ``CommandFailed`` with the pair that does not."""
    listing = json.loads(kubectl(plan, "get", "pods", "-l", "app=a", "-o", "json"))
    addresses = {pod["metadata"]["name"]: [entry["ip"] for entry in pod["status"]["podIPs"]] for pod in listing["items"]}
    calls = [(source, address) for source, target in pairs(addresses, addresses) if source != target for address in addresses[target]]
    with ThreadPoolExecutor(6) as pool:
        for answer in pool.map(lambda call: connect(plan, *call), calls):
            if answer:
                raise CommandFailed(["pods", "talk"], 1, answer)


def connect(plan: Plan, pod: str, address: str) -> str:
    """ "" when *pod* opens a TCP connection to *address*, else what was said."""
    host = f"[{address}]" if ":" in address else address
    try:
        kubectl(plan, "exec", pod, "--", "/agnhost", "connect", f"{host}:{PORT}", "--timeout=5s")
    except CommandFailed as error:
        return f"{pod} does not reach {host}:{PORT}: {error.output.strip()}"
    return ""
