"""Incremental = fresh: any order of events ends in the balancers of a fresh rendering over the same objects."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ovnloom.core.kube.kinds import PODS
from ovnloom.core.testing import Database, World, pod
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.service.model import ENDPOINT_SLICES, SERVICES, SWITCH_LB_RULES
from ovnloom.plugins.service.plugin import ServicePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin
from tests.plugins.conftest import NODE
from tests.plugins.service.words import endpoint, piece, service

VPC = {"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": "blue"}, "spec": {}}
SUBNET = {
    "apiVersion": "kubeovn.io/v1",
    "kind": "Subnet",
    "metadata": {"name": "team"},
    "spec": {"vpc": "blue", "cidrBlock": "10.16.0.0/24", "namespaces": ["team"]},
}
RULE = {
    "apiVersion": "kubeovn.io/v1",
    "kind": "SwitchLBRule",
    "metadata": {"name": "r"},
    "spec": {"vip": "10.0.0.5", "namespace": "team", "selector": ["a:b"], "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]},
}


def merged(manifest: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**manifest, "spec": {**manifest["spec"], **spec}}


NAMES, SPACES = st.sampled_from(["web", "api"]), st.sampled_from(["default", "team"])
ADDRESSES = st.sampled_from(["10.16.0.2", "10.16.0.3", "192.168.0.2"])


def serving(name: str, namespace: str, policy: str, external: list[str]) -> dict[str, Any]:
    address = "10.96.0.10" if name == "web" else "10.96.0.11"
    return service(name, namespace, clusterIP=address, internalTrafficPolicy=policy, externalIPs=external)


def answering(of: str, namespace: str, addresses: list[str], ready: bool) -> dict[str, Any]:
    return piece(*(endpoint(a, "p", ready=ready, terminating=not ready) for a in addresses), of=of, namespace=namespace)


PUTS = st.one_of(
    st.sampled_from([SUBNET, merged(SUBNET, enableLb=False), merged(SUBNET, enableLb=True), RULE]),
    st.builds(pod, st.just("p"), SPACES),
    st.builds(
        serving,
        NAMES,
        SPACES,
        st.sampled_from(["Cluster", "Local"]),
        st.lists(st.sampled_from(["192.0.2.1", "10.96.0.10"]), max_size=2, unique=True),
    ),
    st.builds(answering, st.sampled_from(["web", "api", "slr-r"]), SPACES, st.lists(ADDRESSES, max_size=3, unique=True), st.booleans()),
)
GONE: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just(PODS), st.just("p"), SPACES),
    st.tuples(st.just(SERVICES), NAMES, SPACES),
    st.tuples(st.just(ENDPOINT_SLICES), st.sampled_from(["web-1", "api-1", "slr-r-1"]), SPACES),
    st.tuples(st.just(SWITCH_LB_RULES), st.just("r"), st.just("")),
)


def told(world: World) -> dict[str, Any]:
    """Balancers by name, groups by the names of their members, switches by the names of their groups."""
    balancers, groups = world.rows("Load_Balancer"), world.rows("Load_Balancer_Group")
    names = {row.uuid: name for name, row in (*balancers.items(), *groups.items())}
    return {
        "balancers": {
            name: {c: row[c] for c in ("vips", "options", "protocol", "ip_port_mappings", "external_ids")}
            for name, row in balancers.items()
        },
        "groups": {name: {names[u] for u in row["load_balancer"]} for name, row in groups.items()},
        "switches": {name: {names[u] for u in row["load_balancer_group"]} for name, row in world.rows("Logical_Switch").items()},
        "checks": set(world.rows("Load_Balancer_Health_Check")),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(PUTS, GONE), st.booleans()), max_size=14))
def test_any_order_ends_in_the_rows_of_a_fresh_rendering(events: list[tuple[Any, bool]]) -> None:
    world = World(VpcPlugin, SubnetPlugin, NodePlugin, ServicePlugin)
    world.apply(NODE, VPC)
    for event, settle in events:
        if isinstance(event, tuple):
            world.remove(*event)
        else:
            world.put(event)
        if settle or isinstance(event, tuple):  # made again before anybody saw it gone, an object leaves its old uid in the labels of rows
            world.settle()
    world.settle()
    written = world.database.transactions
    again = world.restarted()
    assert (again.database.transactions, again.writes) == (written, [])
    world.database = Database()  # emptied, and written anew
    assert told(world.restarted()) == told(again)
