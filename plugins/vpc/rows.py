"""Vpc -> router, routes, policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnloom.core.desired.model import Row, RowKey, Slot
from ovnloom.core.kube.kinds import Subnet
from ovnloom.plugins.vpc.model import POLICIES, Vpc

# Kube-OVN's: entries age after 300 s and come from traffic only, never from somebody's ARP request.
OPTIONS = {"mac_binding_age_threshold": "300", "dynamic_neigh_routers": "true", "always_learn_from_arp_request": "false"}


def router(vpc: Vpc) -> Row:
    return Row("Logical_Router", {"name": vpc.metadata.name, "options": OPTIONS})


def routes(vpc: Vpc, exits: Iterable[Subnet], join: Subnet | None) -> Iterator[Row]:
    """The default VPC leaves by the gateway of *join* (policies send its traffic on), others by the gateway of each Subnet (*exits*)."""
    name = vpc.metadata.name
    for gateway in filter(None, join.spec.gateway.split(",") if join else ()):
        yield _route(name, "dst-ip", "::/0" if ":" in gateway else "0.0.0.0/0", gateway)
    for route in vpc.spec.static_routes:
        yield _route(name, POLICIES[route.policy], route.cidr, route.next_hop_ip, route.route_table)
    for subnet in exits:
        for cidr, gateway in zip(subnet.spec.cidr_block.split(","), subnet.spec.gateway.split(","), strict=False):
            if cidr and gateway:
                yield _route(name, "src-ip", cidr, gateway)


def policies(vpc: Vpc) -> Iterator[Row]:
    for policy in vpc.spec.policy_routes:
        columns: dict[str, object] = {"priority": policy.priority, "match": policy.match, "action": policy.action}
        if policy.action == "reroute":
            columns["nexthops"] = tuple(policy.next_hops)
        yield Row("Logical_Router_Policy", columns, Slot(RowKey("Logical_Router", vpc.metadata.name), "policies"))  # type: ignore[arg-type]


def _route(router: str, policy: str, prefix: str, next_hop: str, table: str = "") -> Row:
    return Row(
        "Logical_Router_Static_Route",
        {"policy": policy, "ip_prefix": prefix, "nexthop": next_hop, "route_table": table},
        Slot(RowKey("Logical_Router", router), "static_routes"),
    )
