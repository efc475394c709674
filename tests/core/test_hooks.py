"""What each hook promises to a plugin: when it is called, with what, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ovnloom.core.config import ClusterConfig
from ovnloom.core.desired.host import HostState, Link
from ovnloom.core.desired.model import AddressRequest, Annotation, Contribution, Pool, Row
from ovnloom.core.errors import Invalid
from ovnloom.core.hooks import AgentHooks, hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, NODES, SUBNETS, Namespace, Node, Subnet
from ovnloom.core.kube.objects import Key, Kind, Metadata, Object, key_of
from ovnloom.core.plugins import NoSettings, Plugin, PluginSet
from ovnloom.core.status import condition
from ovnloom.core.testing import World
from ovnloom.core.view import View


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


class Watching(Plugin):
    name = "watching"

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [SUBNETS, NAMESPACES]  # type: ignore[list-item]  # Kind is invariant in its struct


class Nodes(Plugin):
    name = "nodes"

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [NAMESPACES, NODES]  # type: ignore[list-item]  # Kind is invariant in its struct


def test_hook_resource_kinds_is_a_union_in_order() -> None:
    assert list(World(Watching, Nodes).kinds) == ["subnets.kubeovn.io", "namespaces", "nodes"]


def test_hook_validate_keeps_the_last_good_state() -> None:
    class Strict(Watching):
        @hookimpl
        def validate(self, obj: Object, view: View) -> Iterable[str]:
            if "bad" in obj.metadata.labels:
                yield "metadata.labels: bad is bad; leave it out"

        @hookimpl
        def desired_state(self, obj: Object) -> Iterable[Contribution]:
            if isinstance(obj, Namespace):
                yield Row("Logical_Switch", {"name": obj.metadata.name, "other_config": dict(obj.metadata.labels)})

    world = World(Strict)
    world.apply(namespace("a", kind="good"))
    world.apply(namespace("a", bad="yes"))
    assert world.rows("Logical_Switch")["a"]["other_config"] == {"kind": "good"}
    [failure] = world.failures
    assert (failure.reason, failure.sentence) == ("Invalid", "metadata.labels: bad is bad; leave it out")


class Pooled(Watching):
    """Namespaces that want an address of the pool p; the one called greedy says why not."""

    @hookimpl
    def address_request(self, obj: Object, view: View) -> Sequence[AddressRequest] | None:
        if not isinstance(obj, Namespace):
            return None
        if obj.metadata.name == "greedy":
            raise Invalid("it wants too much", reason="Greedy")
        return (AddressRequest(obj.metadata.name, ("p",)),)

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        if isinstance(obj, Subnet):
            yield Pool("p", "10.0.0.0/30", "10.0.0.1")
        elif lease := view.lease(obj.metadata.name):
            yield Annotation(Key("namespaces", "", obj.metadata.name), "example/address", lease.text)


class Deaf(Watching):
    """After ``Pooled`` in the order: its answer must not count."""

    name = "deaf"

    @hookimpl
    def address_request(self, obj: Object) -> Sequence[AddressRequest] | None:
        return ()


def test_hook_address_request_counts_the_first_answer() -> None:
    world = World(Pooled, Deaf)
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "p"}, "spec": {}})
    world.apply(namespace("a"), namespace("greedy"))
    assert world.get(NAMESPACES, "a").metadata.annotations == {"example/address": "10.0.0.2"}
    assert [(f.reason, f.sentence) for f in world.failures] == [("Greedy", "it wants too much")]
    assert not world.get(NAMESPACES, "greedy").metadata.annotations


def test_hook_desired_state_is_called_again_when_what_it_read_changes() -> None:
    class Reader(Watching):
        @hookimpl
        def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
            if obj.metadata.name == "reader" and (other := view.get(NAMESPACES, "other")):
                yield Row("Logical_Switch", {"name": other.metadata.labels.get("switch", "none")})

    world = World(Reader)
    world.apply(namespace("reader"))
    assert not world.rows("Logical_Switch")
    world.apply(namespace("other", switch="one"))
    assert set(world.rows("Logical_Switch")) == {"one"}
    world.apply(namespace("other", switch="two"))
    assert set(world.rows("Logical_Switch")) == {"two"}
    world.delete(NAMESPACES, "other")
    assert not world.rows("Logical_Switch")  # left out: deleted


def test_hook_status_is_written_when_it_differs() -> None:
    class Telling(Watching):
        @hookimpl
        def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
            if not isinstance(obj, Subnet):
                return None
            return {"conditions": [condition("Ready", not list(view.faults(key_of(SUBNETS, obj))), "Fine")]}

    world = World(Telling)
    subnet = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "p"}, "spec": {}}
    world.apply(subnet)
    [write] = [w for w in world.writes if w.verb == "status"]
    [said] = write.body["status"]["conditions"]
    assert (said["type"], said["status"], said["lastTransitionTime"]) == ("Ready", "True", "2026-01-01T00:00:00Z")
    world.apply(subnet)
    assert len([w for w in world.writes if w.verb == "status"]) == 1


def test_hook_node_state_of_each_plugin_in_isolation() -> None:
    class Good(Plugin):
        name = "good"

        @hookimpl
        def node_state(self, node: Node) -> Iterable[HostState]:
            yield Link(node.metadata.name)

    class Bad(Plugin):
        name = "bad"

        @hookimpl
        def node_state(self, node: Node, view: View) -> Iterable[HostState]:
            yield Link("half")
            raise ZeroDivisionError

    plugins = PluginSet([kind(NoSettings(), ClusterConfig()) for kind in (Bad, Good)], AgentHooks)
    outcomes = list(plugins.fan_out("node_state", node=Node(metadata=Metadata(name="n1")), view=View({})))
    assert [(o.plugin.name, o.result, type(o.error)) for o in outcomes] == [
        ("bad", None, ZeroDivisionError),
        ("good", (Link("n1"),), type(None)),
    ]
