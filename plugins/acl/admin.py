"""Policies of a cluster's administrator: AdminNetworkPolicy, BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) and
ClusterNetworkPolicy (v1alpha2). Whatever the kind says, it becomes the same subject, rules, peers and ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ovnloom.core import net
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.plugins.acl.model import PROTOCOLS, Port

GROUP = "policy.networking.k8s.io"
ACTIONS = {"Allow": "allow-related", "Accept": "allow-related", "Deny": "drop", "Pass": "pass"}


class Pods(msgspec.Struct, rename="camel"):
    namespace_selector: dict[str, Any] = {}
    pod_selector: dict[str, Any] = {}


class Subject(msgspec.Struct, rename="camel"):
    namespaces: dict[str, Any] | None = None
    pods: Pods | None = None

    @property
    def selectors(self) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """Of namespaces and of pods; ``None`` if nobody is named in a way that is known here."""
        if self.pods is not None:
            return self.pods.namespace_selector, self.pods.pod_selector
        return (self.namespaces, {}) if self.namespaces is not None else None


class Peer(Subject, rename="camel"):
    nodes: dict[str, Any] | None = None
    networks: list[str] = []
    domain_names: list[str] = []

    @property
    def blocks(self) -> list[net.Network]:
        """Raises ``ValueError`` if one is none."""
        return [net.network(cidr) for cidr in self.networks]

    def __bool__(self) -> bool:
        return self.selectors is not None or self.nodes is not None or bool(self.networks or self.domain_names)


class PortNumber(msgspec.Struct, rename="camel"):
    protocol: str = "TCP"
    port: int = 0


class PortRange(msgspec.Struct, rename="camel"):
    protocol: str = "TCP"
    start: int = 0
    end: int = 0


class AdminPort(msgspec.Struct, rename="camel"):
    port_number: PortNumber | None = None
    port_range: PortRange | None = None
    named_port: str = ""

    @property
    def ports(self) -> Iterable[Port]:
        if one := self.port_number:
            yield Port(one.protocol, one.port)
        if span := self.port_range:
            yield Port(span.protocol, span.start, span.end)
        if self.named_port:
            yield from _named(self.named_port)


class ProtocolPort(msgspec.Struct, rename="camel"):
    number: int = 0
    range: PortRange | None = None


class Transport(msgspec.Struct, rename="camel"):
    destination_port: ProtocolPort | None = None


class Protocol(msgspec.Struct, rename="camel"):
    tcp: Transport | None = None
    udp: Transport | None = None
    sctp: Transport | None = None
    destination_named_port: str = ""

    @property
    def ports(self) -> Iterable[Port]:
        for protocol, name in PROTOCOLS.items():
            transport: Transport | None = getattr(self, name)
            if transport is None:
                continue
            port = transport.destination_port
            if port and port.range:
                yield Port(protocol, port.range.start, port.range.end)
            else:
                yield Port(protocol, port.number if port else None)
        if self.destination_named_port:
            yield from _named(self.destination_named_port)


class Rule(msgspec.Struct, rename="camel"):
    name: str = ""
    action: str = ""
    from_: list[Peer] = msgspec.field(default_factory=list, name="from")
    to: list[Peer] = []
    ports_: list[AdminPort] = msgspec.field(default_factory=list, name="ports")
    protocols: list[Protocol] = []

    @property
    def peers(self) -> list[Peer]:
        return self.from_ or self.to

    @property
    def port_entries(self) -> Sequence[AdminPort | Protocol]:
        return self.ports_ or self.protocols

    @property
    def ports(self) -> list[Port]:
        return [port for entry in self.port_entries for port in entry.ports]


class AdminSpec(msgspec.Struct, rename="camel"):
    tier: str = "Admin"
    priority: int = 0
    subject: Subject = msgspec.field(default_factory=Subject)
    ingress: list[Rule] = []
    egress: list[Rule] = []


class AdminPolicy(Object):
    """*step* is what one step of ``spec.priority`` is in OVN's, and so how many rules there can be each way."""

    spec: AdminSpec = msgspec.field(default_factory=AdminSpec)

    kind, api_version, word = "", "", ""
    step = 100
    last = 99

    @property
    def baseline(self) -> bool:
        return False


class AdminNetworkPolicy(AdminPolicy):
    kind, api_version, word = "AdminNetworkPolicy", f"{GROUP}/v1alpha1", "anp"


class BaselineAdminNetworkPolicy(AdminPolicy):
    kind, api_version, word = "BaselineAdminNetworkPolicy", f"{GROUP}/v1alpha1", "banp"

    @property
    def baseline(self) -> bool:
        return True


class ClusterNetworkPolicy(AdminPolicy):
    kind, api_version, word = "ClusterNetworkPolicy", f"{GROUP}/v1alpha2", "cnp"
    step, last = 25, 1000

    @property
    def baseline(self) -> bool:
        return self.spec.tier == "Baseline"


def precedence(policy: AdminPolicy) -> str:
    """What two policies of a kind must not have in common."""
    return f"{policy.spec.tier}/{policy.spec.priority}"


def _index(policy: AdminPolicy) -> Iterable[str]:
    return [precedence(policy)]


ANPS: Kind[Any] = Kind(
    GROUP, "v1alpha1", "adminnetworkpolicies", "AdminNetworkPolicy", AdminNetworkPolicy, False, {"precedence": _index}, optional=True
)
BANPS: Kind[Any] = Kind(
    GROUP, "v1alpha1", "baselineadminnetworkpolicies", "BaselineAdminNetworkPolicy", BaselineAdminNetworkPolicy, False, optional=True
)
CNPS: Kind[Any] = Kind(
    GROUP, "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy", ClusterNetworkPolicy, False, {"precedence": _index}, optional=True
)


class ResolverSpec(msgspec.Struct, rename="camel"):
    name: str = ""


class ResolvedAddress(msgspec.Struct, rename="camel"):
    ip: str = ""


class ResolvedName(msgspec.Struct, rename="camel"):
    resolution_failures: int = 0
    resolved_addresses: list[ResolvedAddress] = []


class ResolverStatus(msgspec.Struct, rename="camel"):
    resolved_names: list[ResolvedName] = []


class DNSNameResolver(Object):
    """A domain's name and, in ``status``, the addresses that somebody else (a plugin of CoreDNS) saw it have."""

    spec: ResolverSpec = msgspec.field(default_factory=ResolverSpec)
    status: ResolverStatus = msgspec.field(default_factory=ResolverStatus)

    def addresses(self, version: int) -> frozenset[str]:
        found = [a.ip for name in self.status.resolved_names if not name.resolution_failures for a in name.resolved_addresses]
        return frozenset(str(net.address(ip)) for ip in found if net.is_address(ip) and net.address(ip).version == version)


RESOLVERS: Kind[DNSNameResolver] = Kind(
    "kubeovn.io", "v1", "dnsnameresolvers", "DNSNameResolver", DNSNameResolver, namespaced=False, optional=True
)


def _named(name: str) -> Iterable[Port]:
    """A name without a protocol means the ports of that name of each."""
    return (Port(protocol, name) for protocol in PROTOCOLS)
