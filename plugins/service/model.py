"""Services and their EndpointSlices: which address and port is balanced, and to where.

Semantics are kube-proxy's, so that a pod meets the same Service whichever of the two serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from ovnloom.core.desired.model import Lease
from ovnloom.core.kube.kinds import SUBNETS, Subnet
from ovnloom.core.kube.objects import Kind, Metadata, Object
from ovnloom.core.names import ANNOTATION, LOGICAL_ROUTER, pod_port
from ovnloom.core.net import Address, Network, address, complete_gateway, is_address, networks
from ovnloom.core.view import View

VPC = ANNOTATION + "vpc"  # on a Service: the Vpc whose pods reach it; written here
HEALTH_CHECK = ANNOTATION + "service_health_check"  # "false" on a SwitchLBRule: nobody asks its backends
RULE_VIP = ANNOTATION + "switch_lb_vip"  # on the Service of a SwitchLBRule: for people; nobody reads it
# Labels of Services and slices that are none of a proxy's business (kubernetes.io: service.kubernetes.io/…).
OTHER_PROXY, HEADLESS = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"
OF_SERVICE = "kubernetes.io/service-name"
PROTOCOLS = ("TCP", "UDP", "SCTP")
LONGEST_AFFINITY = 65535  # seconds: more than that OVN does not take (ovn-nb(5), affinity_timeout)


class ServicePort(msgspec.Struct, rename="camel"):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str = 0


class ClientIp(msgspec.Struct, rename="camel"):
    timeout_seconds: int = 10800


class AffinityConfig(msgspec.Struct, rename="camel"):
    client_ip: ClientIp | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(msgspec.Struct, rename="camel"):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] = msgspec.field(default_factory=list, name="clusterIPs")
    external_ips: list[str] = msgspec.field(default_factory=list, name="externalIPs")
    ports: list[ServicePort] = []
    selector: dict[str, str] = {}
    session_affinity: str = ""
    session_affinity_config: AffinityConfig | None = None
    internal_traffic_policy: str = ""
    external_traffic_policy: str = ""
    load_balancer_source_ranges: list[str] = []


class Ingress(msgspec.Struct, rename="camel"):
    ip: str = ""
    ip_mode: str = msgspec.field(default="", name="ipMode")


class LoadBalancer(msgspec.Struct, rename="camel"):
    ingress: list[Ingress] = []


class ServiceStatus(msgspec.Struct, rename="camel"):
    load_balancer: LoadBalancer = msgspec.field(default_factory=LoadBalancer)


class Service(Object):
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: ServiceStatus = msgspec.field(default_factory=ServiceStatus)

    @property
    def cluster_addresses(self) -> tuple[Address, ...]:
        spec = self.spec
        return tuple(dict.fromkeys(_addresses(spec.cluster_ips or [spec.cluster_ip])))

    @property
    def external_addresses(self) -> tuple[Address, ...]:
        """What others announce for it: by these, too, pods of the cluster reach it. None while only local endpoints may answer."""
        spec = self.spec
        if spec.external_traffic_policy == "Local":
            return ()
        found = [*spec.external_ips]
        if spec.type == "LoadBalancer" and not spec.load_balancer_source_ranges:  # who may ask is kube-proxy's to check
            found += [i.ip for i in self.status.load_balancer.ingress if i.ip_mode in ("", "VIP")]
        families = {a.version for a in self.cluster_addresses}
        return tuple(dict.fromkeys(a for a in _addresses(found) if a.version in families))

    @property
    def balanced(self) -> bool:
        """Whether a proxy serves it: not one without address, one that is only a name, or one that another proxy is to serve."""
        named = OTHER_PROXY in self.metadata.labels or HEADLESS in self.metadata.labels
        return bool(self.cluster_addresses) and self.spec.type != "ExternalName" and not named

    @property
    def affinity(self) -> int:
        """Seconds without a packet after which a client may get another endpoint; 0: at once."""
        if self.spec.session_affinity != "ClientIP":
            return 0
        config = self.spec.session_affinity_config
        return min(((config and config.client_ip) or ClientIp()).timeout_seconds, LONGEST_AFFINITY)


class SwitchLbRuleSpec(msgspec.Struct, rename="camel"):
    vip: str = ""
    namespace: str = ""
    selector: list[str] = []
    endpoints: list[str] = []
    session_affinity: str = ""
    ports: list[ServicePort] = []


class SwitchLbRule(Object):
    """An address of one's own choice, balanced like a Service's. Its author administers the cluster."""

    spec: SwitchLbRuleSpec = msgspec.field(default_factory=SwitchLbRuleSpec)
    status: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def service(self) -> tuple[str, str]:
        """Namespace and name of the headless Service that finds the pods it selects."""
        return self.spec.namespace or "default", f"slr-{self.metadata.name}"

    @property
    def addresses(self) -> list[Address]:
        return _addresses(self.spec.vip.split(","))

    @property
    def checks_health(self) -> bool:
        return self.metadata.annotations.get(HEALTH_CHECK) != "false"


class Conditions(msgspec.Struct, rename="camel"):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Reference(msgspec.Struct, rename="camel"):
    kind: str = ""
    name: str = ""


class Endpoint(msgspec.Struct, rename="camel"):
    addresses: list[str] = []
    conditions: Conditions = msgspec.field(default_factory=Conditions)
    target_ref: Reference | None = None


class EndpointPort(msgspec.Struct, rename="camel"):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None


class EndpointSlice(Object):
    address_type: str = ""
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


def service_name(meta: Metadata) -> str:
    return f"{meta.namespace}/{meta.name}"


def _of_service(piece: EndpointSlice) -> Iterable[str]:
    labels = piece.metadata.labels
    return [f"{piece.metadata.namespace}/{labels[OF_SERVICE]}"] if OF_SERVICE in labels else []


def _found_under(service: Service) -> Iterable[str]:
    return {str(a) for a in (*service.cluster_addresses, *service.external_addresses)} if service.balanced else ()


SERVICES: Kind[Service] = Kind("", "v1", "services", "Service", Service, indexes={"address": _found_under})
SWITCH_LB_RULES: Kind[SwitchLbRule] = Kind(
    "kubeovn.io", "v1", "switch-lb-rules", "SwitchLBRule", SwitchLbRule, namespaced=False, fault="ValidateSwitchLBRuleFailed", optional=True
)
ENDPOINT_SLICES: Kind[EndpointSlice] = Kind(
    "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", EndpointSlice, indexes={"service": _of_service}
)


class Target(NamedTuple):
    """An endpoint. *lease*: what its pod holds, in the Vpc *vpc*; none if it is no pod with an address of ours."""

    address: Address
    ports: Mapping[tuple[str, str], int]  # by name and protocol
    ready: bool = True
    draining: bool = False
    lease: Lease | None = None
    vpc: str = ""


class Backend(NamedTuple):
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Balancer:
    """What one protocol of a Service is balanced by. *vips*: ``address:port`` to its backends. *affinity* in seconds.

    *checked* VIPs have backends whose health is watched, each from the port and address in *probes*.
    """

    name: str
    protocol: str
    affinity: int
    vips: Mapping[str, str] = field(hash=False)
    checked: tuple[str, ...] = ()
    probes: Mapping[str, str] = field(default_factory=dict, hash=False)


def rule_targets(rule: SwitchLbRule, view: View) -> list[Target]:
    """The addresses that *rule* lists, or else the pods that it selects."""
    spec = rule.spec
    if spec.endpoints:
        ports = {(p.name, p.protocol): p.target_port for p in spec.ports if isinstance(p.target_port, int)}
        return [Target(where, ports) for where in _addresses(spec.endpoints)]
    return targets("/".join(rule.service), view, headless=True)


def check_port(rule: str, subnet: str) -> str:
    """The lease from whose address backends in *subnet* are asked for their health. No pod's or node's port is called so."""
    return f"slr-{sha256(f'{rule}/{subnet}'.encode()).hexdigest()[:16]}"


def targets(service: str, view: View, *, headless: bool = False) -> list[Target]:
    """Endpoints of *service* (``namespace/name``). Slices of *headless* ones are for who knows what he does."""
    pieces = (p for p in view.select(ENDPOINT_SLICES, "service", service) if headless or HEADLESS not in p.metadata.labels)
    return [target for piece in pieces for target in _targets(piece, view)]


def _targets(piece: EndpointSlice, view: View) -> Iterator[Target]:
    ports = {(p.name or "", p.protocol or "TCP"): p.port for p in piece.ports or () if p.port}
    for endpoint in piece.endpoints or ():
        for where in _addresses(endpoint.addresses[:1]):
            if f"IPv{where.version}" == piece.address_type:
                state = endpoint.conditions
                ready, draining = state.ready is not False, state.serving is not False and state.terminating is True
                lease = _lease(endpoint, piece.metadata.namespace, where, view)
                subnet = view.get(SUBNETS, lease.pool) if lease else None
                yield Target(where, ports, ready, draining, lease, subnet.spec.vpc if subnet else "")


def _lease(endpoint: Endpoint, namespace: str, where: Address, view: View) -> Lease | None:
    """Only pods of the slice's own namespace count, and only by an address that is theirs: a slice is its author's."""
    if endpoint.target_ref is None or endpoint.target_ref.kind != "Pod":
        return None
    lease = view.lease(pod_port(namespace, endpoint.target_ref.name))
    return lease if lease and str(where) in lease.addresses else None


def home(notes: Mapping[str, str], found: Iterable[Target], view: View, default: str) -> str:
    """The Vpc whose pods reach a Service with annotations *notes*: the one asked for, else its pods' own, else the last, else *default*."""
    if asked := notes.get(LOGICAL_ROUTER):
        return asked
    vpcs, last = {t.vpc for t in found if t.vpc}, notes.get(VPC, "")
    for choice in (last, default, *sorted(vpcs)):
        if choice in vpcs:
            return choice
    return last if last and view.select(SUBNETS, "vpc", last) else default


def balancers(service: Service, found: Iterable[Target], vpc: str, view: View) -> Iterator[Balancer]:
    """One for each protocol. Endpoints in another Vpc are left out: their addresses mean something else in this one."""
    internal = () if service.spec.internal_traffic_policy == "Local" else service.cluster_addresses
    external = _externals(service, view)

    def addresses(port: ServicePort) -> Iterable[Address]:
        return (*internal, *(a for a in external if not _taken(service, a, port, view)))

    here = [t for t in found if t.vpc in ("", vpc)]
    yield from balanced(service_name(service.metadata), service.spec.ports, addresses, here, service.affinity)


def balanced(
    name: str, ports: Iterable[ServicePort], addresses: Callable[[ServicePort], Iterable[Address]], here: list[Target], affinity: int
) -> Iterator[Balancer]:
    for protocol in PROTOCOLS:
        vips = {
            socket(vip, port.port): ",".join(socket(*b) for b in backends(here, port, vip.version))
            for port in ports
            if port.protocol == protocol
            for vip in addresses(port)
        }
        if vips:
            yield Balancer(f"{name}:{protocol.lower()}", protocol.lower(), affinity, vips)


def backends(here: Iterable[Target], port: ServicePort, version: int) -> list[Backend]:
    """Those that are ready; if there is none, those that still serve while they end."""
    able = [(t, number) for t in here if t.address.version == version and (number := t.ports.get((port.name, port.protocol)))]
    chosen = [e for e in able if e[0].ready] or [e for e in able if e[0].draining]
    return sorted({Backend(t.address, number) for t, number in chosen})


def _externals(service: Service, view: View) -> list[Address]:
    """Without addresses that authors of Services have no say about: those of Subnets (``status`` is written by controllers)."""
    announced = set(_addresses(i.ip for i in service.status.load_balancer.ingress))
    found = service.external_addresses
    own = [a for a in found if a not in announced]
    blocks = [block for subnet in (view.list(SUBNETS) if own else ()) for block in _blocks(subnet)]
    return [a for a in found if a in announced or not any(block.contains(a) for block in blocks)]


def _taken(service: Service, where: Address, port: ServicePort, view: View) -> bool:
    """Whether the address is another Service's own, or an older one announces the same port of it."""
    for other in view.select(SERVICES, "address", str(where)):
        if service_name(other.metadata) == service_name(service.metadata):
            continue
        if where in other.cluster_addresses:
            return True
        same = any((p.port, p.protocol) == (port.port, port.protocol) for p in other.spec.ports)
        if same and _age(other) < _age(service):
            return True
    return False


def _age(service: Service) -> tuple[str, str, str]:
    meta = service.metadata
    return meta.creation_timestamp or "", meta.namespace, meta.name


def _blocks(subnet: Subnet) -> tuple[Network, ...]:
    try:
        return networks(subnet.spec.cidr_block)
    except ValueError:  # its author hears of it
        return ()


def _addresses(texts: Iterable[str]) -> list[Address]:
    return [address(text) for text in texts if is_address(text)]


def socket(where: Address, port: int) -> str:
    """As OVN writes it: ``10.0.0.1:80``, ``[fd00::1]:80``."""
    return f"[{where}]:{port}" if where.version == 6 else f"{where}:{port}"


def serves(subnet: Subnet, node_switch: str) -> bool:
    """Whether pods of *subnet* have Services balanced on its switch; others reach them through their node."""
    spec = subnet.spec
    if subnet.metadata.name == node_switch or not (spec.provider in ("", "ovn") or spec.provider.endswith(".ovn")):
        return False
    return (not spec.vlan or spec.logical_gateway) if spec.enable_lb is None else spec.enable_lb


def complete(subnet: Subnet) -> bool:
    """Whether the defaults are filled in: before that there is no switch."""
    spec = subnet.spec
    try:
        cidr = ",".join(map(str, networks(spec.cidr_block)))
        return bool(spec.vpc) and (spec.cidr_block, spec.gateway) == (cidr, complete_gateway(spec.gateway, cidr))
    except ValueError:
        return False
