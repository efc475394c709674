"""Who reaches whom: pods, nodes, Services, the API server, a host outside; each family of the bed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ovnloom.sandbox.plan import OUTSIDE, management, management6
from tests.e2e.cluster import AGNHOST, PORT, Cluster, Json, Pod, curl, namespace_spec, ping, pod_spec

NAMESPACE = "e2e-reach"
NODE_PORT = 30701
WEB = 9100


@dataclass(frozen=True, slots=True)
class Scene:
    """Pods `here` and `beside` on node1, `away` on node2; a Service of the name of each but `here`, addresses by family."""

    pods: Mapping[str, Pod]
    services: Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="module")
def scene(cluster: Cluster) -> Iterator[Scene]:
    cluster.create(namespace_spec(NAMESPACE), service("beside"), service("away", NODE_PORT))
    places = {"here": "node1", "beside": "node1", "away": cluster.plan.nodes[-1]}
    pods = cluster.run_pods(NAMESPACE, *(pod_spec(NAMESPACE, name, node=node, image=AGNHOST) for name, node in places.items()))
    found = {s["metadata"]["name"]: s["spec"]["clusterIPs"] for s in cluster.all("service", NAMESPACE)}
    services = {name: {"6" if ":" in address else "4": address for address in addresses} for name, addresses in found.items()}
    yield Scene({pod.name: pod for pod in pods}, services)
    cluster.delete("namespace", NAMESPACE, wait=False)


def service(pod: str, node_port: int = 0) -> Json:
    port: Json = {"port": 80, "targetPort": PORT} | ({"nodePort": node_port} if node_port else {})
    spec = {
        "selector": {"pod": pod},
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [port],
        "type": "NodePort" if node_port else "ClusterIP",
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": pod, "namespace": NAMESPACE}, "spec": spec}


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[None]:
    """A web server outside the cluster."""
    argv = cluster.outside_argv(sys.executable, str(Path(__file__).with_name("outside.py")), str(WEB))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stdout.readline() == "ready\n"
        yield
        server.kill()


@pytest.mark.parametrize("target", ["beside", "away"])
def test_pod_to_pod(cluster: Cluster, scene: Scene, family: str, target: str) -> None:
    here, there = scene.pods["here"], scene.pods[target]
    address = there.addresses[family]
    cluster.inside(here, *ping(address))
    assert cluster.inside(here, *curl(address, PORT, "hostname")) == target


@pytest.mark.parametrize("target", ["beside", "away"])
def test_pods_see_each_other_s_own_address(cluster: Cluster, scene: Scene, family: str, target: str) -> None:
    here = scene.pods["here"]
    seen = cluster.inside(here, *curl(scene.pods[target].addresses[family], PORT, "clientip"))
    assert seen.rpartition(":")[0].strip("[]") == here.addresses[family]


@pytest.mark.parametrize("target", ["beside", "away"])
def test_pod_to_pod_with_1500_bytes_unfragmented(cluster: Cluster, scene: Scene, family: str, target: str) -> None:
    headers = 28 if family == "4" else 48
    address = scene.pods[target].addresses[family]
    cluster.inside(scene.pods["here"], *ping(address, "-M", "do", "-s", str(1500 - headers)))


@pytest.mark.parametrize("target", ["here", "away"])
def test_node_to_pod(cluster: Cluster, scene: Scene, family: str, target: str) -> None:
    """From node1: to a pod of its own, and to one on another node."""
    address = scene.pods[target].addresses[family]
    cluster.on("node1", *ping(address))
    assert cluster.on("node1", *curl(address, PORT, "hostname")) == target


@pytest.mark.parametrize("own", [True, False])
def test_pod_to_node(cluster: Cluster, scene: Scene, family: str, own: bool) -> None:
    here = scene.pods["here"]
    address = cluster.node_address(here.node if own else cluster.plan.nodes[-1], family)
    cluster.inside(here, *ping(address))
    cluster.inside(here, "nc", "-z", "-w", "5", address, "10250")  # the kubelet's port


def test_pod_to_api_server_by_cluster_ip(cluster: Cluster, scene: Scene) -> None:
    address = cluster.get("service", "kubernetes", "default")["spec"]["clusterIP"]
    for name in ("here", "away"):
        assert "gitVersion" in cluster.inside(scene.pods[name], "curl", "-sSk", "-m", "5", f"https://{address}/version")


@pytest.mark.parametrize("target", ["beside", "away"])
@pytest.mark.parametrize("client", ["pod", "node"])
def test_cluster_ip(cluster: Cluster, scene: Scene, family: str, client: str, target: str) -> None:
    """Clients on node1; the Service's one pod is on the same node or on another."""
    request = curl(scene.services[target][family], 80, "hostname")
    assert (cluster.inside(scene.pods["here"], *request) if client == "pod" else cluster.on("node1", *request)) == target


def test_node_port_from_outside(cluster: Cluster, scene: Scene, family: str) -> None:
    """By each node, though the pod is on one of them."""
    for node in cluster.plan.nodes:
        assert cluster.outside(*curl(cluster.node_address(node, family), NODE_PORT, "hostname")) == "away"


@pytest.mark.parametrize("name", ["here", "away"])
def test_pod_to_outside_with_the_address_of_its_node(cluster: Cluster, scene: Scene, web: None, family: str, name: str) -> None:
    pod, outside = scene.pods[name], (management if family == "4" else management6)(OUTSIDE)
    assert cluster.inside(pod, *curl(outside, WEB)) == cluster.node_address(pod.node, family)


def test_dns(cluster: Cluster, scene: Scene, family: str) -> None:
    kind, name = {"4": "A", "6": "AAAA"}[family], f"away.{NAMESPACE}.svc.cluster.local"
    address = scene.services["away"][family]
    for client in ("here", "away"):
        assert dig(cluster, scene.pods[client], name, kind) == [address]
    assert dig(cluster, scene.pods["here"], "+tcp", "-x", address) == [f"{name}."]


def dig(cluster: Cluster, pod: Pod, *question: str) -> list[str]:
    """The answers; a note of dig's that it had to ask again is none."""
    printed = cluster.inside(pod, "dig", "+short", "+tries=2", "+time=3", *question)
    return [line for line in printed.splitlines() if not line.startswith(";;")]


def test_dns_by_search_name(cluster: Cluster, scene: Scene) -> None:
    assert cluster.inside(scene.pods["here"], "curl", "-sS", "-m", "5", "http://away/hostname") == "away"
