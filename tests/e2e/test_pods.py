"""Pods that come and go: many at once, the same again, a StatefulSet's, and what is created back to back."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.cluster import AGNHOST, PAUSE, PORT, Cluster, Json, curl, namespace_spec, ping, pod_of, pod_spec, subnet_spec

MANY = 60
OwnSubnet = Callable[[], str]


def ips_of(cluster: Cluster, namespace: str) -> dict[str, Json]:
    """The IP objects of the pods of *namespace*, by the pod's name."""
    return {ip["spec"]["podName"]: ip for ip in cluster.all("ips.kubeovn.io") if ip["spec"].get("namespace") == namespace}


def test_sixty_at_once(cluster: Cluster, namespace: str) -> None:
    """All run, no two have an address in common, each answers; when they are deleted nothing of them stays."""
    nodes = cluster.plan.nodes
    pods = cluster.run_pods(namespace, *(pod_spec(namespace, f"p{i}", node=nodes[i % len(nodes)]) for i in range(MANY)))
    addresses = [address for pod in pods for address in pod.addresses.values()]
    assert len(addresses) == len(set(addresses)) == MANY * len(cluster.families)
    assert len({pod.mac for pod in pods}) == MANY
    asker = cluster.run_pods(namespace, pod_spec(namespace, "asker", node=nodes[0], image=AGNHOST))[0]
    script = 'for a; do (ping -n -c 1 -W 5 "$a" >/dev/null || echo "$a") & done; wait'
    silent = cluster.inside(asker, "sh", "-c", script, "sh", *addresses, timeout=60)
    assert not silent.split()
    assert len(ips_of(cluster, namespace)) == len(cluster.ports(namespace)) == MANY + 1
    cluster.delete("pod", "--all", namespace=namespace)
    cluster.eventually(lambda: not ips_of(cluster, namespace), "end of the IP objects")
    assert not cluster.ports(namespace)


def test_addresses_of_deleted_pods_are_free_again(cluster: Cluster, namespace: str, own_subnet: OwnSubnet) -> None:
    """Three pods fill the Subnet; three others, with other names, get the same addresses after them."""
    cluster.create(subnet_spec(own_subnet(), "10.71.1.0/29", namespace=namespace, excludeIps=["10.71.1.5..10.71.1.6"]))
    taken = []
    for turn in "xy":
        pods = cluster.run_pods(namespace, *(pod_spec(namespace, f"{turn}{i}") for i in range(3)))
        taken.append({pod.addresses["4"] for pod in pods})
        cluster.delete("pod", "--all", namespace=namespace)
    assert taken[0] == taken[1] == {f"10.71.1.{last}" for last in (2, 3, 4)}


def test_recreated_under_its_name(cluster: Cluster, namespace: str) -> None:
    """The new pod is reached at its address from another node, whether that is the old one or not."""
    asker = cluster.run_pods(namespace, pod_spec(namespace, "asker", node=cluster.plan.nodes[-1], image=AGNHOST))[0]
    uids = set()
    for node in cluster.plan.nodes[:2]:
        pod = cluster.run_pods(namespace, pod_spec(namespace, "again", node=node, image=AGNHOST))[0]
        uids.add(pod.uid)
        for address in pod.addresses.values():
            assert cluster.inside(asker, *curl(address, PORT, "hostname")) == "again"
        assert ips_of(cluster, namespace)["again"]["spec"]["nodeName"] == node
        cluster.delete("pod", "again", namespace=namespace)
    assert len(uids) == 2


def test_stateful_set_pod_keeps_address_and_mac(cluster: Cluster, namespace: str) -> None:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": pod_spec(namespace, "db", image=PAUSE)["spec"]}
    spec = {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}}, "template": template}
    cluster.create({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": namespace}, "spec": spec})
    cluster.wait("jsonpath={.status.readyReplicas}=1", "statefulset/db", namespace=namespace)
    first = cluster.pod(namespace, "db-0")
    cluster.delete("pod", "db-0", namespace=namespace)
    cluster.run_pods(namespace, pod_spec(namespace, "rival"))  # somebody who would take a free address
    cluster.wait("jsonpath={.status.readyReplicas}=1", "statefulset/db", namespace=namespace)
    second = cluster.pod(namespace, "db-0")
    assert second.uid != first.uid
    assert (second.addresses, second.mac) == (first.addresses, first.mac)
    cluster.delete("statefulset", "db", namespace=namespace)
    cluster.eventually(lambda: "db-0" not in ips_of(cluster, namespace), "end of the IP object after the StatefulSet's")


def test_pods_of_a_bound_namespace_get_their_subnet_and_reach_others(cluster: Cluster, namespace: str, own_subnet: OwnSubnet) -> None:
    name, cidr = own_subnet(), "10.71.2.0/24,fd00:71:2::/112" if cluster.plan.dual else "10.71.2.0/24"
    cluster.create(subnet_spec(name, cidr, namespace=namespace))
    cluster.wait("condition=Ready", f"subnet/{name}")
    nodes = cluster.plan.nodes
    one, two = cluster.run_pods(namespace, *(pod_spec(namespace, f"p{i}", node=nodes[-i], image=AGNHOST) for i in range(2)))
    other = pod_of(cluster.get("pod", "a2", "default"))
    for family, start in zip(cluster.families, ("10.71.2.", "fd00:71:2::"), strict=False):
        assert one.addresses[family].startswith(start) and two.addresses[family].startswith(start)
        assert cluster.inside(one, *curl(two.addresses[family], PORT, "hostname")) == "p1"
        assert cluster.inside(one, *curl(other.addresses[family], PORT, "hostname")) == "a2"
        assert cluster.inside(other, *curl(one.addresses[family], PORT, "hostname")) == "p0"
        cluster.inside(one, *ping(cluster.node_address(two.node, family)))
    assert ips_of(cluster, namespace)["p0"]["spec"]["subnet"] == name


def test_namespace_subnet_and_pod_back_to_back(cluster: Cluster, own_subnet: OwnSubnet) -> None:
    """The pod may be seen before the Subnet of its namespace; it must not land in another."""
    for turn in range(5):
        name, space = own_subnet(), f"e2e-back-{turn}"
        cluster.create(namespace_spec(space), subnet_spec(name, f"10.71.{10 + turn}.0/24", namespace=space), pod_spec(space, "p"))
        try:
            assert cluster.pod(space, "p").addresses["4"].startswith(f"10.71.{10 + turn}.")
        finally:
            cluster.delete("namespace", space, wait=False)
