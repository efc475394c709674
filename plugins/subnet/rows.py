"""Subnet -> switch and its way to the router. Pod -> port, groups, annotations, IP object."""

from __future__ import annotations

from collections.abc import Iterator

from ovnloom.core.desired.ledger import ip_object
from ovnloom.core.desired.model import Annotation, Contribution, Lease, Member, Row, RowKey, Slot
from ovnloom.core.kube.kinds import PODS, Ip, Namespace, Pod, Subnet
from ovnloom.core.kube.objects import Key, kind_id
from ovnloom.core.names import (
    ALLOCATED,
    CIDR,
    EXCLUDE_IPS,
    GATEWAY,
    IP_ADDRESS,
    LOGICAL_ROUTER,
    LOGICAL_SWITCH,
    MAC_ADDRESS,
    POD_NIC_TYPE,
    ROUTED,
    gateway_group,
    node_group,
    router_port,
    switch_port,
)
from ovnloom.plugins.subnet.model import networks


def switch(subnet: Subnet, policy_priority: int) -> Iterator[Row]:
    """The switch, the pair of ports between it and its router, and the policies that let traffic to it through."""
    name, router = subnet.metadata.name, subnet.spec.vpc
    switch_key, router_key = RowKey("Logical_Switch", name), RowKey("Logical_Router", router)
    yield Row("Logical_Switch", {"name": name})
    yield Row(
        "Logical_Router_Port",
        {
            "name": router_port(router, name),
            "networks": frozenset(networks(subnet.spec.cidr_block, subnet.spec.gateway)),
            "external_ids": {"lr": router},
        },
        Slot(router_key, "ports"),
    )
    yield Row(
        "Logical_Switch_Port",
        {
            "name": switch_port(name, router),
            "type": "router",
            "addresses": frozenset(["router"]),
            "options": {"router-port": router_port(router, name)},
            "external_ids": {"ls": name},
        },
        Slot(switch_key, "ports"),
    )
    for cidr in subnet.spec.cidr_block.split(","):
        yield Row(
            "Logical_Router_Policy",
            {
                "priority": policy_priority,
                "match": f"{'ip6' if ':' in cidr else 'ip4'}.dst == {cidr}",
                "action": "allow",
                "external_ids": {"subnet": name},
            },
            Slot(router_key, "policies"),
        )


def port(lease: Lease, namespace: str, pod: str) -> Row:
    return Row(
        "Logical_Switch_Port",
        {
            "name": lease.port,
            "addresses": frozenset([" ".join((lease.mac, *lease.addresses))]),
            "external_ids": {"ls": lease.pool, "pod": f"{namespace}/{pod}"},
        },
        Slot(RowKey("Logical_Switch", lease.pool), "ports"),
    )


def groups(lease: Lease, node: str, subnet: Subnet) -> Iterator[Member]:
    """The groups of a pod in the default VPC: all of its node, and those that leave the cluster by its node."""
    element = RowKey("Logical_Switch_Port", lease.port)
    yield Member(RowKey("Port_Group", node_group(node)), "ports", element)
    if subnet.spec.gateway_type == "distributed":
        yield Member(RowKey("Port_Group", gateway_group(node)), "ports", element)


def pod_annotations(pod: Pod, lease: Lease, subnet: Subnet) -> Iterator[Annotation]:
    target = Key(kind_id(PODS), pod.metadata.namespace, pod.metadata.name)
    values = {
        ALLOCATED: "true",
        CIDR: subnet.spec.cidr_block,
        GATEWAY: subnet.spec.gateway,
        IP_ADDRESS: lease.text,
        LOGICAL_ROUTER: subnet.spec.vpc,
        LOGICAL_SWITCH: lease.pool,
        MAC_ADDRESS: lease.mac,
        POD_NIC_TYPE: pod.metadata.annotations.get(POD_NIC_TYPE, "veth-pair"),
        ROUTED: "true",
    }
    return (Annotation(target, key, value) for key, value in values.items())


def namespace_annotations(namespace: Namespace, subnets: list[Subnet]) -> Iterator[Annotation]:
    target = Key("namespaces", "", namespace.metadata.name)
    values = {
        LOGICAL_SWITCH: ",".join(s.metadata.name for s in subnets),
        CIDR: ";".join(s.spec.cidr_block for s in subnets),
        EXCLUDE_IPS: ";".join(",".join(s.spec.exclude_ips) for s in subnets),
    }
    return (Annotation(target, key, value) for key, value in values.items())


def kept(ip: Ip, lease: Lease) -> Iterator[Contribution]:
    """Port and IP object of a pod that is gone and will come again."""
    spec = ip.spec
    yield port(lease, spec.namespace, spec.pod_name)
    yield ip_object(lease, pod=spec.pod_name, namespace=spec.namespace, node=spec.node_name, pod_type=spec.pod_type)
