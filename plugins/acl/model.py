"""NetworkPolicy (networking.k8s.io/v1), and what of it becomes a match: peers and ports, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ovnloom.core import net
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.names import ANNOTATION


class IPBlock(msgspec.Struct, rename="camel"):
    cidr: str = ""
    except_: list[str] = msgspec.field(default_factory=list, name="except")

    @property
    def network(self) -> net.Network | None:
        """The API server takes only CIDRs; what is none all the same means nobody."""
        return _network(self.cidr)

    @property
    def exceptions(self) -> list[net.Network]:
        whole = self.network
        found = (_network(cidr) for cidr in self.except_)
        return [one for one in found if one and whole and whole.covers(one)]


class Peer(msgspec.Struct, rename="camel"):
    pod_selector: dict[str, Any] | None = None
    namespace_selector: dict[str, Any] | None = None
    ip_block: IPBlock | None = None


class Port(msgspec.Struct, rename="camel"):
    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class IngressRule(msgspec.Struct, rename="camel"):
    from_: list[Peer] = msgspec.field(default_factory=list, name="from")
    ports: list[Port] = []

    @property
    def peers(self) -> list[Peer]:
        return self.from_


class EgressRule(msgspec.Struct, rename="camel"):
    to: list[Peer] = []
    ports: list[Port] = []

    @property
    def peers(self) -> list[Peer]:
        return self.to


Rule = IngressRule | EgressRule


class PolicySpec(msgspec.Struct, rename="camel"):
    pod_selector: dict[str, Any] = {}
    policy_types: list[str] | None = None
    ingress: list[IngressRule] | None = None
    egress: list[EgressRule] | None = None


class NetworkPolicy(Object):
    spec: PolicySpec = msgspec.field(default_factory=PolicySpec)

    def directions(self) -> Iterator[tuple[str, list[Rule]]]:
        """``ingress`` and ``egress`` with their rules. Where ``policyTypes`` is given, it alone decides (the API's words)."""
        types = self.spec.policy_types or ["Ingress", *(["Egress"] if self.spec.egress is not None else [])]
        if "Ingress" in types:
            yield "ingress", list(self.spec.ingress or ())
        if "Egress" in types:
            yield "egress", list(self.spec.egress or ())


NETWORK_POLICIES: Kind[NetworkPolicy] = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", NetworkPolicy)

ENABLE_LOG = ANNOTATION + "enable_log"
LOG_ACTIONS = ANNOTATION + "log_acl_actions"
LOG_RATE = ANNOTATION + "acl_log_meter_rate"
ENFORCEMENT = ANNOTATION + "network_policy_enforcement"

PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


def _network(cidr: str) -> net.Network | None:
    try:
        [found] = net.networks(cidr)
    except ValueError:
        return None
    return found
