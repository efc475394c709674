"""Node -> its port on the join switch, its groups, and the policies that bring traffic to it."""

from __future__ import annotations

from collections.abc import Iterator

from ovnloom.core.desired.model import Annotation, Lease, Row, RowKey, Slot, Value
from ovnloom.core.kube.kinds import NODES, Node, Subnet
from ovnloom.core.kube.objects import Key, kind_id
from ovnloom.core.names import ALLOCATED, CIDR, GATEWAY, IP_ADDRESS, LOGICAL_SWITCH, MAC_ADDRESS, PORT_NAME, gateway_group, node_group


def port(lease: Lease) -> Row:
    return Row(
        "Logical_Switch_Port",
        {"name": lease.port, "addresses": frozenset([" ".join((lease.mac, *lease.addresses))]), "external_ids": {"ls": lease.pool}},
        Slot(RowKey("Logical_Switch", lease.pool), "ports"),
    )


def groups(node: str) -> Iterator[Row]:
    yield Row("Port_Group", {"name": node_group(node), "external_ids": {"node": node, "np": f"node/{node}"}})
    yield Row("Port_Group", {"name": gateway_group(node), "external_ids": {"node": node}})


def policies(node: Node, lease: Lease, router: str, to_nodes: int, gateways: int) -> Iterator[Row]:
    """To the node's own addresses by its join port; out of the cluster, for the pods in its gateway group, the same way."""
    name = node.metadata.name
    for family, join in (("4", lease.v4), ("6", lease.v6)):
        if not join:
            continue
        for address in node.internal_ips:
            if (":" in address) == (family == "6"):
                yield _reroute(router, to_nodes, f"ip{family}.dst == {address}", join, {"node": name, "address-family": family})
        yield _reroute(router, gateways, f"ip{family}.src == ${gateway_group(name)}_ip{family}", join, {"node": name})


def node_annotations(node: Node, lease: Lease, subnet: Subnet) -> Iterator[Annotation]:
    target = Key(kind_id(NODES), "", node.metadata.name)
    values = {
        ALLOCATED: "true",
        CIDR: subnet.spec.cidr_block,
        GATEWAY: subnet.spec.gateway,
        IP_ADDRESS: lease.text,
        LOGICAL_SWITCH: lease.pool,
        MAC_ADDRESS: lease.mac,
        PORT_NAME: lease.port,
    }
    return (Annotation(target, key, value) for key, value in values.items())


def _reroute(router: str, priority: int, match: str, next_hop: str, external_ids: dict[str, str]) -> Row:
    columns: dict[str, Value] = {
        "priority": priority,
        "match": match,
        "action": "reroute",
        "nexthops": frozenset([next_hop]),
        "external_ids": external_ids,
    }
    return Row("Logical_Router_Policy", columns, Slot(RowKey("Logical_Router", router), "policies"))
