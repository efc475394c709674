"""Services, balanced on the switches of the pods that ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.ledger import ip_object
from ovnloom.core.desired.model import AddressRequest, Contribution, Default
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import IPS, SUBNETS, Subnet
from ovnloom.core.kube.objects import Kind, Object, key_of
from ovnloom.core.names import LOGICAL_ROUTER, OWNER_UID
from ovnloom.core.plugins import Plugin
from ovnloom.core.status import condition
from ovnloom.core.view import View
from ovnloom.plugins.service import model, rows
from ovnloom.plugins.service.model import ENDPOINT_SLICES, SERVICES, SWITCH_LB_RULES, Service, SwitchLbRule
from ovnloom.plugins.service.validate import problems


class ServicePlugin(Plugin):
    name, requires = "service", ("vpc", "subnet")

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        return [SUBNETS, IPS, SERVICES, ENDPOINT_SLICES, SWITCH_LB_RULES]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object, view: View) -> Iterable[str]:
        if isinstance(obj, SwitchLbRule):
            yield from problems(obj)
        asked = obj.metadata.annotations.get(LOGICAL_ROUTER) if isinstance(obj, Service | SwitchLbRule) else None
        if asked and not view.select(SUBNETS, "vpc", asked):
            yield f"annotation {LOGICAL_ROUTER}: no Subnet is in a Vpc {asked[:60]!r}; name the Vpc of the pods that use this Service"

    @hookimpl
    def address_request(self, obj: Object, view: View) -> Sequence[AddressRequest] | None:
        if not isinstance(obj, SwitchLbRule):
            return None
        return tuple(self._check_request(obj, subnet, view) for subnet in self._checked(obj, view))

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        match obj:
            case Cluster():
                # a group is of all Subnets of a Vpc, so none of them is its owner
                vpcs = {subnet.spec.vpc for subnet in view.list(SUBNETS) if self._serves(subnet)}
                yield from (rows.group_row(vpc) for vpc in sorted(vpcs))
            case Subnet():
                yield from self._subnet(obj, view)
            case SwitchLbRule():
                yield from self._rule(obj, view)
            case Service() if obj.balanced:
                found = model.targets(model.service_name(obj.metadata), view)
                vpc = model.home(obj.metadata.annotations, found, view, self.cluster.router)
                yield rows.home(obj, vpc)
                for balancer in model.balancers(obj, found, vpc, view):
                    yield from rows.balancer(balancer, vpc)

    @hookimpl
    def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
        if not isinstance(obj, SwitchLbRule):
            return None
        faults = list(view.faults(key_of(SWITCH_LB_RULES, obj)))
        return {
            "ports": ",".join(f"{p.port}/{p.protocol}" for p in obj.spec.ports),
            "service": "/".join(obj.service),
            "conditions": [
                condition("Ready", not faults, "ValidateSwitchLBRuleFailed" if faults else "ReconcileSucceeded", "; ".join(faults))
            ],
        }

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

    def _rule(self, rule: SwitchLbRule, view: View) -> Iterator[Contribution]:
        found, name = model.rule_targets(rule, view), rule.metadata.name
        vpc = model.home(rule.metadata.annotations, found, view, self.cluster.router)
        leases = {s: lease for s in self._checked(rule, view) if (lease := view.lease(model.check_port(name, s)))}
        yield rows.rule_service(rule, vpc)
        yield from (ip_object(lease, pod=rule.service[1], namespace=rule.service[0], node="", pod_type="Vip") for lease in leases.values())
        for balancer in rows.rule_balancers(rule, found, vpc, leases):
            yield from rows.balancer(balancer, vpc)

    def _checked(self, rule: SwitchLbRule, view: View) -> Sequence[str]:
        """Subnets with backends whose health is watched: each asks from an address of its own. IPv4 only, as in Kube-OVN."""
        if not rule.checks_health or not any(a.version == 4 for a in rule.addresses):
            return ()
        return sorted({t.lease.pool for t in model.rule_targets(rule, view) if t.lease and t.address.version == 4})

    def _check_request(self, rule: SwitchLbRule, subnet: str, view: View) -> AddressRequest:
        port = model.check_port(rule.metadata.name, subnet)
        page = view.get(IPS, port)
        if page and page.metadata.annotations.get(OWNER_UID) == rule.metadata.uid and page.spec.subnet == subnet:
            held = tuple(a for a in (page.spec.v4_ip_address, page.spec.v6_ip_address) if a)
            return AddressRequest(port, (subnet,), held, page.spec.mac_address, recorded=True)
        return AddressRequest(port, (subnet,))
