"""A node is destroyed, with its disk, and booted again."""

from __future__ import annotations

from ovnloom.sandbox import cluster as sandbox
from ovnloom.sandbox import teardown
from tests.e2e.cluster import AGNHOST, PORT, Cluster, Json, curl, pod_spec

SAME = ("allocated", "chassis", "cidr", "gateway", "ip_address", "mac_address", "logical_switch", "port_name")


def notes(node: Json) -> dict[str, str]:
    held = node["metadata"]["annotations"]
    return {key: held[f"ovn.kubernetes.io/{key}"] for key in SAME}


def container(pod: Json) -> Json:
    return dict(pod["status"]["containerStatuses"][0])


def test_node_comes_back(cluster: Cluster, namespace: str) -> None:
    """Its pods run again with their addresses and are reached; the Node keeps what the controller gave it."""
    node = cluster.plan.nodes[-1]
    before = cluster.get("node", node)
    there, here = cluster.run_pods(
        namespace, pod_spec(namespace, "there", node=node, image=AGNHOST), pod_spec(namespace, "here", node="node1", image=AGNHOST)
    )
    old = container(cluster.get("pod", "there", namespace))["containerID"]
    teardown.down_node(cluster.plan, node)
    sandbox.boot_node(cluster.plan, node)

    def runs_again() -> bool:
        held = container(cluster.get("pod", "there", namespace))
        return bool(held["ready"]) and held.get("containerID") != old

    cluster.eventually(runs_again, "the pod of that node", 120)
    cluster.steady()
    again = cluster.get("node", node)
    assert notes(again) == notes(before)
    assert again["metadata"]["uid"] == before["metadata"]["uid"]
    back = cluster.pod(namespace, "there")
    assert (back.uid, back.addresses, back.mac) == (there.uid, there.addresses, there.mac)
    for address in back.addresses.values():
        assert cluster.inside(here, *curl(address, PORT, "hostname")) == "there"
    for family in cluster.families:
        cluster.inside(back, "ping", "-n", "-c", "1", "-W", "3", cluster.node_address("node1", family))
