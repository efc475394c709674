"""Selector sets: their members are what a brute-force search finds, whatever happened in whatever order; and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ovnloom.core.desired.model import Annotation, Contribution
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, PODS, STATEFULSETS, StatefulSet
from ovnloom.core.kube.objects import Key, Kind, Object
from ovnloom.core.kube.selectors import matches
from ovnloom.core.names import pod_port
from ovnloom.core.plugins import Plugin
from ovnloom.core.testing import World, pod
from ovnloom.core.view import View
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin

SELECTORS: list[dict[str, Any]] = [
    {},
    {"matchLabels": {"app": "web"}},
    {"matchLabels": {"app": "web", "tier": "1"}},
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
    {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}, {"key": "app", "operator": "In", "values": ["web"]}]},
]


class Asking(Plugin):
    """StatefulSets stand for whatever asks: replicas says which selector of pods, the name of which namespaces."""

    name, requires = "asking", ("subnet",)

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [STATEFULSETS]  # type: ignore[list-item]

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        if not isinstance(obj, StatefulSet):
            return
        own, pods = obj.metadata.namespace, SELECTORS[obj.spec.replicas % len(SELECTORS)]
        key = Key("statefulsets.apps", own, obj.metadata.name)
        if obj.metadata.name == "own":
            yield Annotation(key, "as", view.address_set(namespace=own, pods=pods))
            yield Annotation(key, "pg", view.port_group(namespace=own, pods=pods))
        else:
            yield Annotation(key, "as", view.address_set(namespaces=SELECTORS[1], pods=pods))
            for number, name in view.numbered_sets("Address_Set", ("http", "TCP"), namespaces={}, pods=pods).items():
                yield Annotation(key, f"http-{number}", name)


def asking(name: str, namespace: str, selector: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": selector}}


def space(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def labelled(name: str, namespace: str, labels: dict[str, str], number: int = 80) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": number}]
    return {**pod(name, namespace, labels=labels), "spec": {"nodeName": "n1", "containers": [{"ports": ports}]}}


LABELS = st.fixed_dictionaries({}, optional={"app": st.sampled_from(["web", "db"]), "tier": st.just("1")})
SPACES = st.sampled_from(["red", "blue"])
EVENTS = st.lists(
    st.one_of(
        st.builds(space, SPACES, LABELS),
        st.builds(labelled, st.sampled_from("abc"), SPACES, LABELS, st.sampled_from([80, 8080])),
        st.builds(asking, st.sampled_from(["own", "all"]), SPACES, st.integers(0, len(SELECTORS) - 1)),
        st.tuples(st.just(PODS), st.sampled_from("abc"), SPACES),
        st.tuples(st.just(STATEFULSETS), st.sampled_from(["own", "all"]), SPACES),
        st.tuples(st.just(NAMESPACES), SPACES, st.just("")),
        st.just("settle"),
    ),
    max_size=30,
)


def made() -> World:
    world = World(VpcPlugin, SubnetPlugin, NodePlugin, Asking)
    world.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    return world


def meant(world: World, obj: Any, number: int | None = None) -> dict[str, str]:
    """Port and address of the pods that *obj* asks for, by search."""
    found = {}
    for one in world.caches["pods"].all():
        holder = world.get(NAMESPACES, one.metadata.namespace)
        labels = holder.metadata.labels if holder else {}
        if obj.metadata.name == "own":
            here = one.metadata.namespace == obj.metadata.namespace
        else:
            here = matches({} if number else SELECTORS[1], labels)
        numbers = [p.container_port for c in one.spec.containers for p in c.ports]  # type: ignore[attr-defined]
        lease = world.engine.ipam.lease(pod_port(one.metadata.namespace, one.metadata.name))
        if here and lease and matches(SELECTORS[obj.spec.replicas], one.metadata.labels) and (number is None or number in numbers):
            found[lease.port] = lease.v4
    return found


def check(world: World) -> None:
    addresses, groups, names = world.rows("Address_Set"), world.rows("Port_Group"), set()
    ports = {row.uuid: name for name, row in world.rows("Logical_Switch_Port").items()}
    for obj in world.caches["statefulsets.apps"].all():
        notes = obj.metadata.annotations
        names |= {f"{notes['as']}_v4", f"{notes['as']}_v6"}
        assert addresses[f"{notes['as']}_v4"]["addresses"] == set(meant(world, obj).values())
        if "pg" in notes:
            assert {ports[uuid] for uuid in groups[notes["pg"]]["ports"]} == set(meant(world, obj))
        for number in (80, 8080):
            wanted = meant(world, obj, number) if obj.metadata.name == "all" else {}
            if wanted:
                assert addresses[notes[f"http-{number}"] + "_v4"]["addresses"] == set(wanted.values())
                names |= {notes[f"http-{number}"] + suffix for suffix in ("_v4", "_v6")}
            else:
                assert f"http-{number}" not in notes
    assert set(addresses) == names, "a set that nobody asks for stays"


@settings(max_examples=80, deadline=None)
@given(EVENTS)
def test_members_are_those_that_a_search_finds(events: list[Any]) -> None:
    world = made()
    for event in events:
        if event == "settle":
            world.settle()
        elif isinstance(event, dict):
            world.replace(event)
        else:
            world.remove(*event)
    world.settle()
    check(world)


def test_equal_selectors_share_one_set() -> None:
    world = made()
    world.apply(asking("all", "red", 3), asking("all", "blue", 3))
    assert len(world.rows("Address_Set")) == 2


def test_a_pod_that_joins_changes_one_row_of_each_family_and_renders_nobody() -> None:
    world = made()
    bound = {"cidrBlock": "10.20.0.0/24", "namespaces": ["red"]}
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "red"}, "spec": bound})
    world.apply(space("red", {}), asking("own", "red", 1), labelled("a", "red", {"app": "web"}))
    world.put(labelled("b", "red", {"app": "web"}))
    batch = world.engine.step(world.database.replica)
    changed = [op for unit in batch.units for op in unit.ops if op.table == "Address_Set"]
    assert len(changed) == 1
    assert not [key for key in batch.rendered if key.kind == "statefulsets.apps"]
    assert [unit.key.name for unit in batch.units] == ["b"], "its membership is committed together with its port"


def test_selectors_that_cannot_mean_a_pod_cost_it_nothing() -> None:
    world = made()
    for index in range(500):
        world.put(asking("own", f"ns{index}", index))
    world.apply(space("red", {}), labelled("a", "red", {"app": "web"}))
    found = world.get(PODS, "a", "red")
    assert list(world.engine.sets._meeting(found)) == []
