"""What is wrong with a Subnet by itself: a sentence for each fault, with the field and the way out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ovnloom.core import net
from ovnloom.core.errors import shown
from ovnloom.core.kube.kinds import NatRule, Subnet, SubnetSpec

GATEWAY_TYPES = ("", "distributed", "centralized")
PROTOCOLS = ("", "IPv4", "IPv6", "Dual", "Mac")
NAT_ACTIONS = ("", "nat", "forward")
MTU_OF_IPV6 = 1280  # RFC 8200


def problems(subnet: Subnet, *, service_host: str, default_vpc: str) -> list[str]:
    """All faults of *subnet* that show without looking at others; empty if there is none.

    *service_host* is the API server's address as pods see it (``""``: not known), *default_vpc* the Vpc of a Subnet that
    names none.
    """
    spec = subnet.spec
    found = [*_words(spec), *_names(subnet, default_vpc), *_upper_case(spec), *_nat(spec), *_interconnection(spec)]
    if spec.vlan and not spec.cidr_block:
        return [*found, *_mac_only(spec), *_egress(spec, ())]
    try:
        blocks = net.networks(spec.cidr_block)
    except ValueError:
        return [
            *found,
            f"spec.cidrBlock: {shown(spec.cidr_block)} is not a CIDR block; write it like 10.16.0.0/16 or 10.16.0.0/16,fd00::/112",
        ]
    found += _blocks(blocks)
    found += _inside(spec, blocks)
    found += _egress(spec, blocks)
    if spec.mtu and spec.mtu < MTU_OF_IPV6 and any(block.version == 6 for block in blocks):
        found.append(f"spec.mtu: {spec.mtu} is less than IPv6 allows; give {MTU_OF_IPV6} or more")
    api = net.address(service_host) if net.is_address(service_host) and (spec.vpc or default_vpc) == default_vpc else None
    if api and any(block.contains(api) for block in blocks):
        found.append(f"spec.cidrBlock: {spec.cidr_block} holds the address of the API server ({service_host}); choose a block without it")
    return found


def unsupported(spec: SubnetSpec, served: Collection[str] = ()) -> Iterator[str]:
    """Fields that mean something in Kube-OVN and nothing here yet: refused, because ``private`` that is ignored is open.

    *served* are those that another plugin gives their meaning, as ``Subnet.spec.private``.
    """
    asked = {
        "gatewayType": spec.gateway_type == "centralized",
        "vlan": bool(spec.vlan),
        "private": spec.private,
        "allowSubnets": bool(spec.allow_subnets),
        "acls": bool(spec.acls),
        "allowEWTraffic": spec.allow_ew_traffic,
        "vips": bool(spec.vips),
        "externalEgressGateway": bool(spec.external_egress_gateway),
        "natOutgoingPolicyRules": bool(spec.nat_outgoing_policy_rules),
        "logicalGateway": spec.logical_gateway,
        "u2oInterconnection": spec.u2o_interconnection,
    }
    for field in (field for field, given in asked.items() if given and f"Subnet.spec.{field}" not in served):
        value = "centralized is" if field == "gatewayType" else ""
        yield f"spec.{field}: {value or 'is'} not supported by this version; leave it out"


def _words(spec: SubnetSpec) -> Iterator[str]:
    if spec.gateway_type not in GATEWAY_TYPES:
        yield f"spec.gatewayType: {shown(spec.gateway_type)} is unknown; choose distributed or centralized"
    if spec.protocol not in PROTOCOLS:
        yield f"spec.protocol: {shown(spec.protocol)} is unknown; choose IPv4, IPv6, Dual or Mac, or leave it out"
    for entry in spec.exclude_ips:
        try:
            net.address_range(entry)
        except ValueError:
            yield f"spec.excludeIps: {shown(entry)} is neither an address nor a range; write it like 10.0.0.5 or 10.0.0.5..10.0.0.9"
    for entry in spec.allow_subnets:
        try:
            net.network(entry)
        except ValueError:
            yield f"spec.allowSubnets: {shown(entry)} is not a CIDR block; write it like 10.0.0.0/24"


def _names(subnet: Subnet, default_vpc: str) -> Iterator[str]:
    if subnet.metadata.name == (subnet.spec.vpc or default_vpc):
        yield f"metadata.name: {subnet.metadata.name} is the name of this Subnet's Vpc too; their switch and router need different names"


def _upper_case(spec: SubnetSpec) -> Iterator[str]:
    """Addresses are compared as text in many places, by users' scripts too: so there is one spelling."""
    texts = {
        "cidrBlock": [spec.cidr_block],
        "gateway": [spec.gateway],
        "excludeIps": spec.exclude_ips,
        "vips": spec.vips,
        "allowSubnets": spec.allow_subnets,
        "externalEgressGateway": [spec.external_egress_gateway],
        "u2oInterconnectionIP": [spec.u2o_interconnection_ip],
    }
    for field, values in texts.items():
        for value in values:
            if value != value.lower():
                yield f"spec.{field}: {shown(value)} has capital letters; write {shown(value.lower())}"


def _mac_only(spec: SubnetSpec) -> Iterator[str]:
    fields = {
        "gateway": spec.gateway,
        "excludeIps": spec.exclude_ips,
        "vips": spec.vips,
        "u2oInterconnectionIP": spec.u2o_interconnection_ip,
    }
    for field, value in fields.items():
        if value:
            yield f"spec.{field}: a Subnet without spec.cidrBlock has no addresses; leave the field out or give a block"


def _blocks(blocks: tuple[net.Network, ...]) -> Iterator[str]:
    for block in blocks:
        if block.prefix == net.BITS[block.version]:
            yield f"spec.cidrBlock: {block} is a single address; give a prefix of at most {block.prefix - 1}"
        if use := net.special(block):
            yield f"spec.cidrBlock: {block} overlaps {use}; choose a block of unicast addresses"


def _inside(spec: SubnetSpec, blocks: tuple[net.Network, ...]) -> Iterator[str]:
    """Addresses that must be in the Subnet; the gateway must also be one that a router may have."""
    for part in spec.gateway.split(",") if spec.gateway else ():
        yield from _outside("gateway", part, spec, blocks)
        address = net.address(part) if net.is_address(part) else None
        for block in blocks:
            if address and block.contains(address) and block.size and not block.hosts[0] <= address.value <= block.hosts[1]:
                end = "network" if address.value == block.first else "broadcast"
                yield f"spec.gateway: {part} is the {end} address of {block}; choose one between its first and its last"
    for vip in spec.vips:
        yield from _outside("vips", vip, spec, blocks)
    for part in spec.u2o_interconnection_ip.split(",") if spec.u2o_interconnection_ip else ():
        yield from _outside("u2oInterconnectionIP", part, spec, blocks)


def _outside(field: str, part: str, spec: SubnetSpec, blocks: tuple[net.Network, ...]) -> Iterator[str]:
    if not net.is_address(part):
        yield f"spec.{field}: {shown(part)} is not an address; write it like 10.0.0.5 or fd00::5"
    elif not any(block.contains(net.address(part)) for block in blocks):
        yield f"spec.{field}: {part} is not in spec.cidrBlock {spec.cidr_block}; choose an address inside it"


def _interconnection(spec: SubnetSpec) -> Iterator[str]:
    if spec.logical_gateway and spec.u2o_interconnection:
        yield "spec.logicalGateway: cannot go together with spec.u2oInterconnection; set one of them to false"
    if spec.u2o_features.overlay_only_routing and not spec.u2o_interconnection:
        yield "spec.u2oFeatures.overlayOnlyRouting: needs spec.u2oInterconnection; set that to true or this to false"
    if spec.u2o_features.overlay_only_routing and not spec.vlan:
        yield "spec.u2oFeatures.overlayOnlyRouting: is for underlay Subnets; name a Vlan in spec.vlan or set it to false"
    for part in spec.u2o_interconnection_ip.split(",") if spec.u2o_interconnection_ip else ():
        if part in spec.gateway.split(","):
            yield f"spec.u2oInterconnectionIP: {shown(part)} is the gateway; choose another address"


def _egress(spec: SubnetSpec, blocks: tuple[net.Network, ...]) -> Iterator[str]:
    if not spec.external_egress_gateway:
        return
    field, parts = "spec.externalEgressGateway", spec.external_egress_gateway.split(",")
    if spec.nat_outgoing:
        yield f"{field}: cannot go together with spec.natOutgoing; leave one of them out"
    if len(parts) > 2:
        yield f"{field}: has {len(parts)} addresses; give at most one of IPv4 and one of IPv6"
    unreadable = [part for part in parts if not net.is_address(part)]
    yield from (f"{field}: {shown(part)} is not an address; write it like 192.168.0.1" for part in unreadable)
    if len(parts) > 2 or unreadable:
        return
    versions = [net.address(part).version for part in parts]
    if len(set(versions)) < len(versions):
        yield f"{field}: holds two addresses of one family; give at most one of IPv4 and one of IPv6"
    elif blocks and not set(versions) <= {block.version for block in blocks}:
        yield f"{field}: {shown(spec.external_egress_gateway)} is of a family that spec.cidrBlock {spec.cidr_block} lacks; leave that out"


def _nat(spec: SubnetSpec) -> Iterator[str]:
    for index, rule in enumerate(spec.nat_outgoing_policy_rules):
        yield from _nat_rule(f"spec.natOutgoingPolicyRules[{index}]", rule)


def _nat_rule(field: str, rule: NatRule) -> Iterator[str]:
    if rule.action not in NAT_ACTIONS:
        yield f"{field}.action: {shown(rule.action)} is unknown; choose nat or forward"
    families = set()
    for name, listed in (("srcIPs", rule.match.src_ips), ("dstIPs", rule.match.dst_ips)):
        if not listed:
            continue
        try:
            versions = {(net.network(part) if "/" in part else net.address(part)).version for part in listed.strip().split(",")}
        except ValueError:
            yield f"{field}.match.{name}: {shown(listed)} is not a list of addresses and CIDR blocks; write it like 10.0.0.5,10.1.0.0/16"
            continue
        if len(versions) > 1:
            yield f"{field}.match.{name}: holds both address families; make a rule for each"
        families |= versions
    if len(families) > 1:
        yield f"{field}.match: source and destination are of different address families; give both of one"
