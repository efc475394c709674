"""Vpc: a router of its own, with the routes and policies its author asks for."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

import msgspec

from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.names import ANNOTATION


class StaticRoute(msgspec.Struct, rename="camel"):
    policy: str = ""
    cidr: str = ""
    next_hop_ip: str = msgspec.field(default="", name="nextHopIP")
    ecmp_mode: str = ""
    bfd_id: str = ""
    route_table: str = ""


class PolicyRoute(msgspec.Struct, rename="camel"):
    priority: int = 0
    match: str = ""
    action: str = ""
    next_hop_ip: str = msgspec.field(default="", name="nextHopIP")

    @property
    def next_hops(self) -> list[str]:
        return [hop.strip() for hop in self.next_hop_ip.split(",") if hop.strip()]


class VpcSpec(msgspec.Struct, rename="camel"):
    namespaces: list[str] = []
    default_subnet: str = ""
    static_routes: list[StaticRoute] = []
    policy_routes: list[PolicyRoute] = []
    vpc_peerings: list[dict[str, str]] = []
    enable_external: bool = False
    enable_bfd: bool = False


class Vpc(Object):
    spec: VpcSpec = msgspec.field(default_factory=VpcSpec)
    status: msgspec.Raw = msgspec.Raw(b"{}")


VPCS: Kind[Vpc] = Kind("kubeovn.io", "v1", "vpcs", "Vpc", Vpc, namespaced=False, fault="ValidateVpcFailed")

EXTERNAL_LABEL = ANNOTATION + "vpc_external"  # a router that somebody else keeps
POLICIES = {"": "dst-ip", "policyDst": "dst-ip", "policySrc": "src-ip"}
# OVN's own words for what a router policy does
ACTIONS = ("allow", "drop", "reroute")


def problems(vpc: Vpc) -> Iterator[str]:
    """What is wrong in *vpc*, a sentence each."""
    for index, route in enumerate(vpc.spec.static_routes):
        where = f"spec.staticRoutes[{index}]"
        if route.policy not in POLICIES:
            yield f"{where}.policy: {route.policy[:40]!r} is not a policy; use policyDst or policySrc"
        if not _network(route.cidr):
            yield f"{where}.cidr: {route.cidr[:60]!r} is neither an address nor a CIDR; write it as 10.0.0.0/24"
        if not _address(route.next_hop_ip):
            yield f"{where}.nextHopIP: {route.next_hop_ip[:60]!r} is not an address; name the next router's address"
        if route.bfd_id or route.ecmp_mode not in ("", "normal"):
            yield f"{where}: ecmpMode and bfdId are not supported by this version; leave them out"
    for index, policy in enumerate(vpc.spec.policy_routes):
        where = f"spec.policyRoutes[{index}]"
        if policy.action not in ACTIONS:
            yield f"{where}.action: {policy.action[:40]!r} is not an action; use one of {', '.join(ACTIONS)}"
        if not 0 <= policy.priority <= 32767:
            yield f"{where}.priority: {policy.priority} is out of range; use 0 to 32767"
        if policy.action == "reroute" and not (policy.next_hops and all(map(_address, policy.next_hops))):
            yield f"{where}.nextHopIP: {policy.next_hop_ip[:60]!r} is not a list of addresses; reroute needs where to"
    unsupported = {"vpcPeerings": vpc.spec.vpc_peerings, "enableExternal": vpc.spec.enable_external, "enableBfd": vpc.spec.enable_bfd}
    yield from (f"spec.{name}: not supported by this version; leave it out" for name, value in unsupported.items() if value)


def _address(text: str) -> bool:
    return _parses(ipaddress.ip_address, text)


def _network(text: str) -> bool:
    return _parses(ipaddress.ip_network, text, False)


def _parses(parse: object, *arguments: object) -> bool:
    try:
        parse(*arguments)  # type: ignore[operator]
    except ValueError:
        return False
    return True


def families(networks: Iterable[str]) -> list[tuple[str, str]]:
    """``[("ip4", network), ("ip6", network)]`` in the words of an OVN match."""
    return [("ip6" if ":" in network else "ip4", network) for network in networks if network]
