"""The verbs of these tests: kubectl, and commands in a pod, on a node, outside of the cluster. Waiting is ``kubectl wait``."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ovnloom.sandbox import cluster as sandbox
from ovnloom.sandbox.command import run
from ovnloom.sandbox.plan import Plan, management, management6, number_of
from ovnloom.sandbox.ready import until

Json = dict[str, Any]

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.56"
PAUSE = "registry.k8s.io/pause:3.10.1"
TOOLS = "docker.io/ovnloom/ovnloom:dev"  # the product's image: it has Python and ping
SYSTEM = "kube-system"
PORT = 8080
PATIENCE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that runs. *addresses* by family, "4" and "6"."""

    namespace: str
    name: str
    node: str
    addresses: Mapping[str, str]
    mac: str
    uid: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """The bed *plan*."""

    plan: Plan

    @property
    def families(self) -> tuple[str, ...]:
        return ("4", "6") if self.plan.dual else ("4",)

    def node_address(self, node: str, family: str) -> str:
        return (management if family == "4" else management6)(number_of(node))

    # kubectl

    def kubectl(self, *arguments: str, stdin: str = "", timeout: float = 2 * PATIENCE) -> str:
        """Raises ``CommandFailed`` with kubectl's words."""
        return sandbox.kubectl(self.plan, *arguments, stdin=stdin, timeout=timeout)

    def create(self, *objects: Json) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("create", "-f", "-", stdin=text)

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        return dict(json.loads(self.kubectl("get", kind, name, *_in(namespace), "-o", "json")))

    def all(self, kind: str, namespace: str = "", *more: str) -> list[Json]:
        return list(json.loads(self.kubectl("get", kind, *_in(namespace), *more, "-o", "json"))["items"])

    def delete(self, kind: str, *names: str, namespace: str = "", wait: bool = True) -> None:
        self.kubectl("delete", kind, *names, *_in(namespace), f"--wait={str(wait).lower()}", "--ignore-not-found")

    def wait(self, what: str, *names: str, namespace: str = "", seconds: float = PATIENCE) -> None:
        """``kubectl wait --for=WHAT NAMES``. Raises ``CommandFailed`` when it does not come."""
        self.kubectl("wait", f"--for={what}", *names, *_in(namespace), f"--timeout={seconds:.0f}s", timeout=seconds + 10)

    def pod(self, namespace: str, name: str) -> Pod:
        """The pod, as soon as it is Ready."""
        self.wait("condition=Ready", f"pod/{name}", namespace=namespace)
        return pod_of(self.get("pod", name, namespace))

    def run_pods(self, namespace: str, *pods: Json) -> list[Pod]:
        """Creates *pods* and waits until all are Ready."""
        self.create(*pods)
        names = [pod["metadata"]["name"] for pod in pods]
        self.wait("condition=Ready", *(f"pod/{name}" for name in names), namespace=namespace)
        listed = {pod["metadata"]["name"]: pod for pod in self.all("pod", namespace)}
        return [pod_of(listed[name]) for name in names]

    def warning(self, namespace: str, name: str, reason: str) -> str:
        """The message of the Warning Event *reason* of the object *name*, as soon as there is one."""
        selector = f"--field-selector=type=Warning,reason={reason},involvedObject.name={name}"
        found: list[str] = []

        def seen() -> bool:
            found[:] = [event["message"] for event in self.all("events", namespace or "default", selector)]
            return bool(found)

        self.eventually(seen, f"Event {reason} of {name}")
        return found[0]

    def steady(self) -> None:
        """Returns when every pod of the product is Ready and every node is."""
        self.kubectl("-n", SYSTEM, "rollout", "status", "deployment", f"--timeout={PATIENCE:.0f}s")
        everywhere = f"jsonpath={{.status.numberReady}}={len(self.plan.nodes)}"
        self.kubectl("-n", SYSTEM, "wait", f"--for={everywhere}", "daemonset", "--all", f"--timeout={PATIENCE:.0f}s")
        self.kubectl("wait", "--for=condition=Ready", "node", "--all", f"--timeout={PATIENCE:.0f}s")

    # commands

    def inside(self, pod: Pod, *argv: str, timeout: float = 30.0) -> str:
        """Runs *argv* in *pod*; what it printed. Raises ``CommandFailed``."""
        return self.kubectl("-n", pod.namespace, "exec", pod.name, "--", *argv, timeout=timeout)

    def on(self, node: str, *argv: str, stdin: str = "") -> str:
        """Runs *argv* on *node*."""
        return run(["runc", "exec", self.plan.space(node), *argv], stdin=stdin, timeout=30)

    def outside_argv(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.plan.space("out"), *argv]

    def outside(self, *argv: str) -> str:
        """Runs *argv* on a host that is not in the cluster."""
        return run(self.outside_argv(*argv), timeout=30)

    def kubectl_argv(self, *arguments: str) -> list[str]:
        return sandbox.kubectl_argv(self.plan, *arguments)

    def northbound(self, *arguments: str) -> str:
        """``ovn-nbctl`` where the database is."""
        return self.kubectl("-n", SYSTEM, "exec", "deploy/ovn-central", "--", "ovn-nbctl", "--bare", *arguments)

    def ports(self, namespace: str) -> set[str]:
        """Names of the ports of the pods of *namespace*."""
        listed = self.northbound("--columns=name", "list", "Logical_Switch_Port").split()
        return {name for name in listed if name.endswith(f".{namespace}")}

    def eventually(self, probe: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """For what no watch tells. Raises ``TooLate``."""
        until(probe, what, seconds)


def _in(namespace: str) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()


def pod_of(obj: Json) -> Pod:
    meta, notes = obj["metadata"], obj["metadata"].get("annotations", {})
    addresses = {str(ipaddress.ip_address(entry["ip"]).version): entry["ip"] for entry in obj["status"].get("podIPs", ())}
    mac = notes.get("ovn.kubernetes.io/mac_address", "")
    return Pod(meta["namespace"], meta["name"], obj["spec"].get("nodeName", ""), addresses, mac, meta["uid"])


def pod_spec(
    namespace: str, name: str, *, node: str = "", image: str = PAUSE, command: Iterable[str] = (), notes: Mapping[str, str] | None = None
) -> Json:
    """A Pod that ends at once when it is deleted, labelled ``pod: NAME``."""
    container: Json = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}
    if words := list(command):
        container["command"] = words
    if image == AGNHOST and not words:
        container["args"] = ["netexec", f"--http-port={PORT}"]
        container["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    spec: Json = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    if node:
        spec["nodeName"] = node
    meta: Json = {"name": name, "namespace": namespace, "labels": {"pod": name}, "annotations": dict(notes or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def subnet_spec(name: str, cidr: str, *, namespace: str = "", **more: object) -> Json:
    spec: Json = {"cidrBlock": cidr, "protocol": "Dual" if "," in cidr else "IPv6" if ":" in cidr else "IPv4", **more}
    if namespace:
        spec["namespaces"] = [namespace]
    return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def namespace_spec(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def url(address: str, port: int, path: str = "") -> str:
    return f"http://[{address}]:{port}/{path}" if ":" in address else f"http://{address}:{port}/{path}"


def curl(address: str, port: int, path: str = "") -> tuple[str, ...]:
    """The words of a request that fails when nobody answers within 5 s."""
    return ("curl", "-sS", "-g", "--fail", "-m", "5", url(address, port, path))


def ping(address: str, *options: str) -> tuple[str, ...]:
    """Two packets; fails when none is answered."""
    return ("ping", "-n", "-c", "2", "-i", "0.2", "-W", "2", *options, address)
