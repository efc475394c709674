"""Subnets as switches, and on them the ports and addresses of pods."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.ledger import ip_object
from ovnloom.core.desired.model import AddressRequest, Child, Contribution, Default, Finalizer, Pool
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import IPS, NAMESPACES, PODS, STATEFULSETS, SUBNETS, Ip, Namespace, Pod, Subnet
from ovnloom.core.kube.objects import Key, Kind, Object, key_of, kind_id
from ovnloom.core.names import pod_port
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.plugins import Plugin
from ovnloom.core.status import condition
from ovnloom.core.view import View
from ovnloom.plugins.subnet import model, rows
from ovnloom.plugins.subnet.settings import SubnetConfig
from ovnloom.plugins.subnet.validate import problems, unsupported

TO_SUBNETS = register(Band("Logical_Router_Policy", "to-subnets", 31000, "subnet"))


class SubnetPlugin(Plugin):
    name, requires, critical, config_class = "subnet", ("vpc",), True, SubnetConfig
    api_server = os.environ.get("KUBERNETES_SERVICE_HOST", "")  # no Subnet may take its address

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [SUBNETS, NAMESPACES, STATEFULSETS, PODS, IPS]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object, view: View) -> Iterable[str]:
        if not isinstance(obj, Subnet):
            return
        found = [*problems(obj, service_host=self.api_server, default_vpc=self.cluster.router), *unsupported(obj.spec, self.served)]
        yield from found
        for other in () if found else view.select(SUBNETS, "vpc", obj.spec.vpc or self.cluster.router):
            if model.age(other.metadata) < model.age(obj.metadata) and model.overlapping(obj, other):
                yield (
                    f"spec.cidrBlock: {obj.spec.cidr_block} overlaps {other.spec.cidr_block} of Subnet {other.metadata.name}; "
                    "choose a block that no other Subnet of this Vpc uses"
                )

    @hookimpl
    def address_request(self, obj: Object, view: View) -> Sequence[AddressRequest] | None:
        match obj:
            case Pod():
                if not obj.spec.node_name or obj.spec.host_network or obj.finished:
                    return ()
                return (model.pod_request(obj, view, self.cluster.default_subnet),)
            case Ip() if model.retained(obj, view):
                held = tuple(a for a in (obj.spec.v4_ip_address, obj.spec.v6_ip_address) if a)
                port = obj.metadata.name
                return (AddressRequest(port, (obj.spec.subnet,), held, obj.spec.mac_address, recorded=True, sticky=True),)
            case _:
                return None

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        match obj:
            case Cluster():
                yield self._default_subnet()
            case Subnet():
                yield from self._subnet(obj, view)
            case Namespace():
                default = view.get(SUBNETS, self.cluster.default_subnet)
                yield from rows.namespace_annotations(obj, model.bound(obj.metadata.name, view) or [s for s in (default,) if s])
            case Pod():
                yield from self._pod(obj, view)
            case Ip() if model.retained(obj, view) and (lease := view.lease(obj.metadata.name)):
                yield from rows.kept(obj, lease)

    @hookimpl
    def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
        if not isinstance(obj, Subnet):
            return None
        faults = list(view.faults(key_of(SUBNETS, obj)))
        wanted: dict[str, object] = {
            "conditions": [
                condition(
                    "Validated", not faults, "ValidateLogicalSwitchFailed" if faults else "ValidateLogicalSwitchSuccess", "; ".join(faults)
                ),
                condition("Ready", not faults, "ValidateLogicalSwitchFailed" if faults else "ResetLogicalSwitchAclSuccess"),
            ]
        }
        if usage := view.usage(obj.metadata.name):
            wanted |= {
                "v4usingIPs": usage.v4_using,
                "v4availableIPs": usage.v4_available,
                "v4usingIPrange": usage.v4_using_ranges,
                "v4availableIPrange": usage.v4_available_ranges,
                "v6usingIPs": usage.v6_using,
                "v6availableIPs": usage.v6_available,
                "v6usingIPrange": usage.v6_using_ranges,
                "v6availableIPrange": usage.v6_available_ranges,
            }
        return wanted

    def _subnet(self, subnet: Subnet, view: View) -> Iterator[Contribution]:
        name, target = subnet.metadata.name, key_of(SUBNETS, subnet)
        if subnet.metadata.deletion_timestamp and not view.pool_in_use(name):
            return
        missing = model.defaults(subnet, self.cluster.router)
        yield from (Default(target, field, value) for field, value in missing.items())
        yield Finalizer(target)
        spec = subnet.spec
        # what follows needs the defaults; this hook is called again when they are there
        if not {"cidrBlock", "gateway", "vpc"} & missing.keys():
            yield Pool(name, spec.cidr_block, spec.gateway, tuple(spec.exclude_ips))
            yield from rows.switch(subnet, TO_SUBNETS.priority)

    def _pod(self, pod: Pod, view: View) -> Iterator[Contribution]:
        meta = pod.metadata
        lease = view.lease(pod_port(meta.namespace, meta.name))
        if lease is None or lease.uid != meta.uid:
            return
        subnet = view.get(SUBNETS, lease.pool)
        if subnet is None:
            return
        yield rows.port(lease, meta.namespace, meta.name)
        if subnet.spec.vpc == self.cluster.router:
            yield from rows.groups(lease, pod.spec.node_name, subnet)
        yield from rows.pod_annotations(pod, lease, subnet)
        pod_type = "StatefulSet" if model.owner(pod) else ""
        yield ip_object(lease, pod=meta.name, namespace=meta.namespace, node=pod.spec.node_name, pod_type=pod_type)

    def _default_subnet(self) -> Child:
        spec = {
            "vpc": self.cluster.router,
            "provider": "ovn",
            "cidrBlock": self.config.cidr,
            "gateway": self.config.gateway,
            "excludeIps": list(self.config.exclude_ips),
            "default": True,
            "natOutgoing": True,
            "gatewayType": "distributed",
        }
        manifest = {
            "apiVersion": SUBNETS.api_version,
            "kind": SUBNETS.kind,
            "metadata": {"name": self.cluster.default_subnet},
            "spec": {k: v for k, v in spec.items() if v not in ("", [])},
        }
        return Child(Key(kind_id(SUBNETS), "", self.cluster.default_subnet), manifest, once=True)
