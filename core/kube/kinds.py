"""The kinds that core itself and more than one plugin speak of."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ovnloom.core.kube.objects import Kind, Metadata, Object


class ContainerPort(msgspec.Struct, rename="camel"):
    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(msgspec.Struct, rename="camel"):
    ports: list[ContainerPort] = []


class PodSpec(msgspec.Struct, rename="camel"):
    node_name: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    containers: list[Container] = []


class PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""


class Pod(Object):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def finished(self) -> bool:
        """Its containers have ended for good: it holds no address any more."""
        phase, policy = self.status.phase, self.spec.restart_policy
        return (phase == "Succeeded" and policy != "Always") or (phase == "Failed" and policy == "Never")


class Namespace(Object):
    pass


class NodeAddress(msgspec.Struct, rename="camel", frozen=True):
    type: str = ""
    address: str = ""


class NodeStatus(msgspec.Struct, rename="camel"):
    addresses: list[NodeAddress] = []


class Node(Object):
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)

    @property
    def internal_ips(self) -> list[str]:
        return [a.address for a in self.status.addresses if a.type == "InternalIP"]


class StatefulSetOrdinals(msgspec.Struct, rename="camel"):
    start: int = 0


class StatefulSetSpec(msgspec.Struct, rename="camel"):
    replicas: int = 1
    ordinals: StatefulSetOrdinals | None = None


class StatefulSet(Object):
    spec: StatefulSetSpec = msgspec.field(default_factory=StatefulSetSpec)


class NatMatch(msgspec.Struct, rename="camel"):
    src_ips: str = msgspec.field(default="", name="srcIPs")
    dst_ips: str = msgspec.field(default="", name="dstIPs")


class NatRule(msgspec.Struct, rename="camel"):
    match: NatMatch = msgspec.field(default_factory=NatMatch)
    action: str = ""


class U2oFeatures(msgspec.Struct, rename="camel"):
    overlay_only_routing: bool = False


class SubnetAcl(msgspec.Struct, rename="camel", frozen=True):
    direction: str = ""
    priority: int = 0
    match: str = ""
    action: str = ""


class SubnetSpec(msgspec.Struct, rename="camel"):
    cidr_block: str = ""
    gateway: str = ""
    exclude_ips: list[str] = []
    protocol: str = ""
    provider: str = ""
    vpc: str = ""
    vlan: str = ""
    namespaces: list[str] = []
    namespace_selectors: list[dict[str, object]] = []
    default: bool = False
    private: bool = False
    nat_outgoing: bool = False
    gateway_type: str = ""
    gateway_node: str = ""
    logical_gateway: bool = False
    enable_lb: bool | None = None
    mtu: int = 0
    disable_gateway_check: bool = False
    allow_subnets: list[str] = []
    acls: list[SubnetAcl] = []
    allow_ew_traffic: bool = msgspec.field(default=False, name="allowEWTraffic")
    vips: list[str] = []
    external_egress_gateway: str = ""
    nat_outgoing_policy_rules: list[NatRule] = []
    u2o_interconnection: bool = msgspec.field(default=False, name="u2oInterconnection")
    u2o_interconnection_ip: str = msgspec.field(default="", name="u2oInterconnectionIP")
    u2o_features: U2oFeatures = msgspec.field(default_factory=U2oFeatures, name="u2oFeatures")


class Subnet(Object):
    spec: SubnetSpec = msgspec.field(default_factory=SubnetSpec)
    status: msgspec.Raw = msgspec.Raw(b"{}")


class IpSpec(msgspec.Struct, rename="camel"):
    pod_name: str = ""
    namespace: str = ""
    subnet: str = ""
    node_name: str = ""
    ip_address: str = ""
    v4_ip_address: str = msgspec.field(default="", name="v4IpAddress")
    v6_ip_address: str = msgspec.field(default="", name="v6IpAddress")
    mac_address: str = ""
    pod_type: str = ""
    attach_ips: list[str] | None = None
    attach_macs: list[str] | None = None
    attach_subnets: list[str] | None = None
    container_id: str = msgspec.field(default="", name="containerID")


class Ip(Object):
    spec: IpSpec = msgspec.field(default_factory=IpSpec)


def _bound_namespaces(subnet: Subnet) -> Iterable[str]:
    """Where a Subnet is found: by each namespace it names, and under ``*`` if it selects by labels."""
    yield from subnet.spec.namespaces
    if subnet.spec.namespace_selectors:
        yield "*"


PODS = Kind("", "v1", "pods", "Pod", Pod)
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)
NODES = Kind("", "v1", "nodes", "Node", Node, namespaced=False)
STATEFULSETS = Kind("apps", "v1", "statefulsets", "StatefulSet", StatefulSet)
SUBNETS = Kind(
    "kubeovn.io",
    "v1",
    "subnets",
    "Subnet",
    Subnet,
    namespaced=False,
    indexes={
        "namespace": _bound_namespaces,
        "vpc": lambda s: [s.spec.vpc] if s.spec.vpc else [],
        "default": lambda s: ["true"] if s.spec.default else [],
    },
    fault="ValidateLogicalSwitchFailed",
)
IPS = Kind("kubeovn.io", "v1", "ips", "IP", Ip, namespaced=False, indexes={"subnet": lambda ip: [ip.spec.subnet]})

__all__ = [
    "IPS",
    "NAMESPACES",
    "NODES",
    "PODS",
    "STATEFULSETS",
    "SUBNETS",
    "Ip",
    "Metadata",
    "Namespace",
    "Node",
    "Pod",
    "StatefulSet",
    "Subnet",
]
