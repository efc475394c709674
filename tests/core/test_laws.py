"""Incremental = fresh: any order of any events ends in the rows, notes and ledger of a fresh rendering with the same leases."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ovnloom.core.kube.kinds import IPS, NAMESPACES, NODES, PODS, STATEFULSETS, SUBNETS
from ovnloom.core.kube.objects import Kind
from ovnloom.core.ovn.rows import Row
from ovnloom.core.testing import World, pod
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin

NAMES = st.sampled_from(["a", "b"])
SPACES = st.sampled_from(["red", "blue"])
BLOCKS = {"s1": "10.20.0.0/29", "s2": "10.21.0.0/30", "s3": "10.20.0.0/28"}  # s2 is soon full, s1 and s3 overlap


def subnet(name: str, *namespaces: str) -> dict[str, Any]:
    spec = {"cidrBlock": BLOCKS[name], "namespaces": list(namespaces)}
    return {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}


def node(name: str, address: str) -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def statefulset(namespace: str, replicas: int) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": replicas}}


def member(namespace: str, ordinal: int) -> dict[str, Any]:
    return pod(f"web-{ordinal}", namespace, ownerReferences=[{"kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}])


def asked(name: str, namespace: str, address: str) -> dict[str, Any]:
    return pod(name, namespace, annotations={"ovn.kubernetes.io/ip_address": address})


PUTS = st.one_of(
    st.builds(lambda n: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}}, SPACES),
    st.builds(subnet, st.sampled_from(sorted(BLOCKS)), SPACES),
    st.builds(node, st.sampled_from(["n1", "n2"]), st.sampled_from(["192.168.0.2", "192.168.0.3"])),
    st.builds(pod, NAMES, SPACES, st.sampled_from(["n1", "n2"])),
    st.builds(asked, NAMES, SPACES, st.sampled_from(["10.20.0.3", "10.21.0.2", "10.99.0.1"])),
    st.builds(statefulset, SPACES, st.integers(0, 2)),
    st.builds(member, SPACES, st.integers(0, 1)),
)
GONE: st.SearchStrategy[tuple[Kind[Any], str, str]] = st.one_of(
    st.tuples(st.just(PODS), st.sampled_from(["a", "b", "web-0", "web-1"]), SPACES),
    st.tuples(st.just(SUBNETS), st.sampled_from(sorted(BLOCKS)), st.just("")),
    st.tuples(st.just(NODES), st.sampled_from(["n1", "n2"]), st.just("")),
    st.tuples(st.just(STATEFULSETS), st.just("web"), SPACES),
    st.tuples(st.just(NAMESPACES), SPACES, st.just("")),
    st.tuples(st.just(IPS), st.sampled_from(["a.red", "web-0.red", "b.blue"]), st.just("")),
)
EVENTS = st.lists(st.one_of(PUTS, GONE, st.just("settle"), st.just("step")), min_size=5, max_size=40)


def plain(world: World, row: Row) -> dict[str, Any]:
    """The columns, references as natural keys."""
    columns: dict[str, Any] = {}
    for name, value in row.columns.items():
        references = world.database.replica.columns(row.table)[name].references
        columns[name] = {world.database.replica.key_of(references, u) for u in value} if references else value  # type: ignore[union-attr,arg-type]
    return columns


def rows(world: World) -> dict[str, dict[str, dict[str, Any]]]:
    tables = ("Logical_Switch", "Logical_Switch_Port", "Logical_Router", "Logical_Router_Port", "Logical_Router_Policy", "Port_Group")
    return {table: {key: plain(world, row) for key, row in world.rows(table).items()} for table in tables}


def leases(world: World) -> dict[str, tuple[str, str]]:
    return {lease.port: (lease.text, lease.mac) for pool in ("join", "ovn-default", *BLOCKS) for lease in world.engine.ipam.leases(pool)}


def ledger(world: World) -> dict[str, tuple[str, str]]:
    return {ip.metadata.name: (ip.spec.ip_address, ip.spec.mac_address) for ip in world.caches["ips.kubeovn.io"].all()}  # type: ignore[attr-defined]


def unknown_node_port(world: World, pod: Any) -> str:
    known = world.get(NODES, pod.spec.node_name)
    return "" if known else f"{pod.metadata.name}.{pod.metadata.namespace}"


def fresh(world: World) -> World:
    """Another controller over the same objects and an empty database."""
    other = World(VpcPlugin, SubnetPlugin, NodePlugin)
    other._versions = world._versions
    for name, cache in world.caches.items():
        for obj in cache.all():
            other.caches[name].upsert(obj)
    other.engine.load()
    other.settle()
    return other


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_any_order_of_events_ends_as_a_fresh_rendering(events: list[Any]) -> None:
    world = World(VpcPlugin, SubnetPlugin, NodePlugin)
    for event in events:
        if event == "settle":
            world.settle()
        elif event == "step":
            world.step()
        elif isinstance(event, dict):
            world.put(event)
        else:
            world.remove(*event)
    world.settle()
    held = leases(world)
    pages = ledger(world)
    assert pages.items() <= held.items()
    # a pod on a node that nobody knows is not published before the node is there
    assert {port for port in held if port not in pages} <= {unknown_node_port(world, p) for p in world.caches["pods"].all()}
    addresses = [text for text, _ in held.values()]
    assert len(set(addresses)) == len(addresses)
    if pages != held:
        return  # what is in no page of the ledger was given to nobody yet, and another process may give something else
    again = world.restarted()
    assert again.database.transactions == world.database.transactions, "a restart changed rows"
    assert [w for w in again.writes if w.verb != "status"] == []
    other = fresh(world)
    assert leases(other) == held
    assert rows(other) == rows(world)
