"""What users may get wrong: a Warning Event, and on a Subnet its condition, say so; nobody else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.e2e.cluster import PORT, Cluster, Json, curl, pod_of, pod_spec, subnet_spec

OwnSubnet = Callable[[], str]
ADDRESS, SWITCH, MAC = (f"ovn.kubernetes.io/{word}" for word in ("ip_address", "logical_switch", "mac_address"))

SUBNETS: Mapping[str, tuple[str, Json, str]] = {
    "overlap": ("10.16.128.0/24", {}, "spec.cidrBlock: 10.16.128.0/24 overlaps"),
    "malformed": ("10.72.0.0/33", {}, "spec.cidrBlock: '10.72.0.0/33' is not a CIDR block"),
    "hostile": ('10.72.0.0/24"; drop', {}, "spec.cidrBlock:"),
    "gateway": ("10.72.1.0/24", {"gateway": "10.73.0.1"}, "spec.gateway: 10.73.0.1 is not in spec.cidrBlock"),
}

PODS: Mapping[str, tuple[str, str, str]] = {
    "outside": (ADDRESS, "10.99.0.5", "10.99.0.5"),
    "no address": (ADDRESS, "10.16.0.300", "'10.16.0.300' is not an address"),
    "gateway": (ADDRESS, "10.16.0.1", "10.16.0.1 is the gateway"),
    "in use": (ADDRESS, "", "held by"),
    "unknown subnet": (SWITCH, "no-such", "there is no Subnet 'no-such'"),
    "quotes": (SWITCH, 'x" || 1 == "1', "there is no Subnet"),
    "newline": (SWITCH, "ovn-default\nx: y", "there is no Subnet"),
    "match syntax": (ADDRESS, "10.16.0.9 || ip4.src == 0.0.0.0/0", "is not an address"),
    "ten kilobytes": (ADDRESS, "1" * 10_240, "is not an address"),
    "mac": (MAC, "02:00:00:00:00:01 unknown", "is not a MAC address"),
}


@pytest.fixture(autouse=True)
def untouched(cluster: Cluster) -> Iterator[None]:
    """The rest of the cluster: the same rows but the test's own, and a pod still reaches another."""
    before = rows(cluster)
    yield
    assert rows(cluster) == before
    first, second = (pod_of(cluster.get("pod", name, "default")) for name in ("a1", "a2"))
    assert cluster.inside(first, *curl(second.addresses["4"], PORT, "hostname")) == "a2"


def rows(cluster: Cluster) -> set[str]:
    """Names of switches, their ports and router ports, without those of the Subnets and namespaces of these tests."""
    names: set[str] = set()
    for table in ("Logical_Switch", "Logical_Switch_Port", "Logical_Router_Port"):
        names.update(cluster.northbound("--columns=name", "list", table).split())
    return {name for name in names if "e2e-" not in name}


@pytest.mark.parametrize("case", SUBNETS)
def test_bad_subnet(cluster: Cluster, own_subnet: OwnSubnet, case: str) -> None:
    cidr, more, sentence = SUBNETS[case]
    name = own_subnet()
    cluster.create(subnet_spec(name, cidr, **more))
    cluster.wait("condition=Ready=False", f"subnet/{name}")
    conditions = {c["type"]: c for c in cluster.get("subnet", name)["status"]["conditions"]}
    assert sentence in conditions["Validated"]["message"]
    assert sentence in cluster.warning("", name, "ValidateLogicalSwitchFailed")
    cluster.delete("subnet", name)


@pytest.mark.parametrize("case", PODS)
def test_bad_annotation(cluster: Cluster, namespace: str, case: str) -> None:
    """The pod waits with its reason; when the annotation is put right on a new pod of that name, it runs."""
    key, value, sentence = PODS[case]
    value = value or pod_of(cluster.get("pod", "a1", "default")).addresses["4"]
    cluster.create(pod_spec(namespace, "p", node="node1", notes={key: value}))
    message = warning(cluster, namespace, "p")
    assert sentence in message
    assert len(message) < 1024 and message.isprintable()
    assert cluster.get("pod", "p", namespace)["status"]["phase"] == "Pending"
    assert not cluster.ports(namespace)
    cluster.delete("pod", "p", namespace=namespace)
    cluster.run_pods(namespace, pod_spec(namespace, "p", node="node1"))


def warning(cluster: Cluster, namespace: str, name: str) -> str:
    """The controller's first Warning about the pod."""
    found: list[str] = []

    def seen() -> bool:
        selector = f"--field-selector=type=Warning,involvedObject.name={name}"
        events = cluster.all("events", namespace, selector)
        found[:] = [event["message"] for event in events if event.get("reportingComponent") == "kube-ovn-controller"]
        return bool(found)

    cluster.eventually(seen, f"a Warning about {name}")
    return found[0]


def test_full_subnet(cluster: Cluster, namespace: str, own_subnet: OwnSubnet) -> None:
    """The pod that finds no address says so, and runs as soon as another has gone."""
    name = own_subnet()
    cluster.create(subnet_spec(name, "10.72.8.0/30", namespace=namespace))
    cluster.run_pods(namespace, pod_spec(namespace, "first"))
    cluster.create(pod_spec(namespace, "second"))
    assert name in warning(cluster, namespace, "second")
    assert cluster.get("pod", "second", namespace)["status"]["phase"] == "Pending"
    cluster.delete("pod", "first", namespace=namespace)
    assert cluster.pod(namespace, "second").addresses["4"] == "10.72.8.2"
    cluster.delete("pod", "second", namespace=namespace)
    cluster.delete("subnet", name)
