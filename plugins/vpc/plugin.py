"""Routers: the default VPC ``ovn-cluster`` and those that users make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.model import Child, Contribution, Finalizer
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import SUBNETS
from ovnloom.core.kube.objects import Key, Kind, Object, key_of, kind_id
from ovnloom.core.plugins import Plugin
from ovnloom.core.status import condition
from ovnloom.core.view import View
from ovnloom.plugins.vpc import model, rows
from ovnloom.plugins.vpc.model import VPCS, Vpc


class VpcPlugin(Plugin):
    name = "vpc"

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [VPCS, SUBNETS]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object) -> Iterable[str]:
        return model.problems(obj) if isinstance(obj, Vpc) else ()

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        if isinstance(obj, Cluster):
            yield self._default_vpc()
        elif isinstance(obj, Vpc) and model.EXTERNAL_LABEL not in obj.metadata.labels:
            subnets = list(view.select(SUBNETS, "vpc", obj.metadata.name))
            if obj.metadata.deletion_timestamp and not subnets:
                return
            default = obj.metadata.name == self.cluster.router
            join = view.get(SUBNETS, self.cluster.node_switch) if default else None
            yield Finalizer(key_of(VPCS, obj))
            yield rows.router(obj)
            yield from rows.routes(obj, () if default else subnets, join)
            yield from rows.policies(obj)

    @hookimpl
    def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
        if not isinstance(obj, Vpc):
            return None
        name, faults = obj.metadata.name, list(view.faults(key_of(VPCS, obj)))
        default = name == self.cluster.router
        subnets = [s.metadata.name for s in view.select(SUBNETS, "vpc", name)]
        return {
            "standby": not faults,
            "default": default,
            "router": name,
            "defaultLogicalSwitch": self.cluster.default_subnet if default else obj.spec.default_subnet,
            "subnets": subnets,
            "conditions": [condition("Ready", not faults, "ReconcileSucceeded" if not faults else "ValidateVpcFailed", "; ".join(faults))],
        }

    def _default_vpc(self) -> Child:
        manifest = {"apiVersion": VPCS.api_version, "kind": VPCS.kind, "metadata": {"name": self.cluster.router}, "spec": {}}
        return Child(Key(kind_id(VPCS), "", self.cluster.router), manifest, once=True)
