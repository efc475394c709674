"""Nodes as ports of the join switch: pods reach them, and leave the cluster, through it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.ledger import ip_object
from ovnloom.core.desired.model import AddressRequest, Child, Contribution
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import IPS, NODES, SUBNETS, Node
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id
from ovnloom.core.names import ALLOCATED, IP_ADDRESS, MAC_ADDRESS, node_port
from ovnloom.core.net import is_address
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.node import rows
from ovnloom.plugins.node.settings import NodeConfig

TO_NODES = register(Band("Logical_Router_Policy", "to-nodes", 30000, "node"))
GATEWAYS = register(Band("Logical_Router_Policy", "gateways", 29000, "node"))


class NodePlugin(Plugin):
    name, requires, config_class = "node", ("subnet",), NodeConfig

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [SUBNETS, NODES, IPS]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object) -> Iterable[str]:
        # whoever may write a Node's status must not write router policies by it
        for address in obj.internal_ips if isinstance(obj, Node) else ():
            if not is_address(address):
                yield f"status.addresses: {address[:60]!r} is not an address; start the kubelet with --node-ip=ADDRESS"

    @hookimpl
    def address_request(self, obj: Object) -> Sequence[AddressRequest] | None:
        if not isinstance(obj, Node):
            return None
        notes = obj.metadata.annotations
        recorded = notes.get(ALLOCATED) == "true" and bool(notes.get(IP_ADDRESS))
        held = tuple(notes[IP_ADDRESS].split(",")) if recorded else ()
        mac = notes.get(MAC_ADDRESS, "") if recorded else ""
        return (AddressRequest(node_port(obj.metadata.name), (self.cluster.node_switch,), held, mac, recorded=recorded),)

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        if isinstance(obj, Cluster):
            yield self._join_subnet()
        if not isinstance(obj, Node):
            return
        name = obj.metadata.name
        yield from rows.groups(name)
        lease = view.lease(node_port(name))
        subnet = view.get(SUBNETS, self.cluster.node_switch)
        if lease and subnet:
            yield rows.port(lease)
            yield from rows.policies(obj, lease, self.cluster.router, TO_NODES.priority, GATEWAYS.priority)
            yield from rows.node_annotations(obj, lease, subnet)
            owner: Mapping[str, object] = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": obj.metadata.uid}
            yield ip_object(lease, pod=name, namespace="", node=name, owners=(owner,))

    def _join_subnet(self) -> Child:
        spec = {"vpc": self.cluster.router, "provider": "ovn", "cidrBlock": self.config.cidr, "gateway": self.config.gateway}
        manifest = {
            "apiVersion": SUBNETS.api_version,
            "kind": SUBNETS.kind,
            "metadata": {"name": self.cluster.node_switch},
            "spec": {k: v for k, v in spec.items() if v} | {"disableInterConnection": True},
        }
        return Child(Key(kind_id(SUBNETS), "", self.cluster.node_switch), manifest, once=True)
