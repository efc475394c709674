"""Access control lists: of policies, the administrator's too, of security groups and of Subnets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ovnloom.core.cluster import Cluster
from ovnloom.core.desired.model import Contribution
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, NODES, PODS, SUBNETS, Node, Pod, Subnet
from ovnloom.core.kube.objects import Kind, Object, key_of
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.acl import admin_rows, rows, security_group, switch_rows
from ovnloom.plugins.acl.admin import ANPS, BANPS, CNPS, RESOLVERS, AdminPolicy, BaselineAdminNetworkPolicy
from ovnloom.plugins.acl.model import NETWORK_POLICIES, NetworkPolicy
from ovnloom.plugins.acl.security_group import GROUPS, SecurityGroup
from ovnloom.plugins.acl.validate import admin_problems, rivals

# the first of the administrator's policies and of the baseline; their rules go down from there
ADMIN = register(Band("ACL", "administrator-from", 30000, "acl"))
BASELINE = register(Band("ACL", "baseline-from", 1800, "acl"))
FROM_NODE = register(Band("ACL", "from-and-to-own-node", 3000, "acl"))
ALLOWED = register(Band("ACL", "allowed-by-policy", 2001, "acl"))
ISOLATED = register(Band("ACL", "isolated-by-policy", 2000, "acl"))

POLICIES: tuple[Kind[Any], ...] = (NETWORK_POLICIES, ANPS, BANPS, CNPS)


class AclPlugin(Plugin):
    name, requires, critical = "acl", ("subnet", "node"), True
    serves = ("Subnet.spec.acls", "Subnet.spec.private", "Subnet.spec.allowSubnets", "Subnet.spec.allowEWTraffic")

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        # pods come first: when a policy's group is compared, all its members must be known
        return [NAMESPACES, SUBNETS, PODS, NODES, *POLICIES, RESOLVERS, GROUPS]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object, view: View) -> Iterable[str]:
        match obj:
            case AdminPolicy():
                yield from admin_problems(obj)
                yield from rivals(obj, view)
            case SecurityGroup():
                yield from security_group.problems(obj)
            case Subnet():
                yield from switch_rows.problems(obj)

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        match obj:
            case NetworkPolicy():
                yield from rows.policy_rows(obj, view, ISOLATED.priority, ALLOWED.priority)
            case AdminPolicy():
                single = isinstance(obj, BaselineAdminNetworkPolicy)
                yield from admin_rows.policy_rows(obj, view, BASELINE.priority if single else ADMIN.priority)
            case Node() if any(view.exists(kind) for kind in POLICIES):
                yield from rows.node_rows(obj, FROM_NODE.priority)
            case Subnet():
                nodes = view.get(SUBNETS, self.cluster.node_switch) if obj.spec.private else None
                yield from switch_rows.switch_rows(obj, nodes.spec.cidr_block if nodes else "", FROM_NODE.priority)
            case SecurityGroup():
                yield from security_group.group_rows(obj, view)
            case Pod() if view.exists(GROUPS):
                yield from security_group.pod_rows(obj, view, self.cluster.router)
            case Cluster() if view.exists(GROUPS):
                yield from security_group.deny_all()

    @hookimpl
    def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
        return security_group.status(obj, view.faults(key_of(GROUPS, obj))) if isinstance(obj, SecurityGroup) else None
