"""Services, balanced on the switches of the pods that ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.model import Contribution, Default
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import SUBNETS, Subnet
from ovnloom.core.kube.objects import Kind, Object, key_of
from ovnloom.core.names import LOGICAL_ROUTER
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.service import model, rows
from ovnloom.plugins.service.model import ENDPOINT_SLICES, SERVICES, Service


class ServicePlugin(Plugin):
    name, requires = "service", ("vpc", "subnet")

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [SUBNETS, SERVICES, ENDPOINT_SLICES]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object, view: View) -> Iterable[str]:
        if isinstance(obj, Service) and (asked := obj.metadata.annotations.get(LOGICAL_ROUTER)) and not view.select(SUBNETS, "vpc", asked):
            yield f"annotation {LOGICAL_ROUTER}: no Subnet is in a Vpc {asked[:60]!r}; name the Vpc of the pods that use this Service"

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        match obj:
            case Cluster():
                # a group is of all Subnets of a Vpc, so none of them is its owner
                vpcs = {subnet.spec.vpc for subnet in view.list(SUBNETS) if self._serves(subnet)}
                yield from (rows.group_row(vpc) for vpc in sorted(vpcs))
            case Subnet():
                yield from self._subnet(obj, view)
            case Service() if obj.balanced:
                found = model.targets(obj, view)
                vpc = model.home(obj, found, view, self.cluster.router)
                yield rows.home(obj, vpc)
                for balancer in model.balancers(obj, found, vpc, view):
                    yield from rows.balancer(balancer, vpc)

    def _subnet(self, subnet: Subnet, view: View) -> Iterator[Contribution]:
        name, spec = subnet.metadata.name, subnet.spec
        if subnet.metadata.deletion_timestamp and not view.pool_in_use(name):
            return
        if spec.enable_lb is None and model.serves(subnet, self.cluster.node_switch):
            yield Default(key_of(SUBNETS, subnet), "enableLb", True)
        if self._serves(subnet):
            yield rows.on_switch(name, spec.vpc)

    def _serves(self, subnet: Subnet) -> bool:
        return model.serves(subnet, self.cluster.node_switch) and model.complete(subnet)
