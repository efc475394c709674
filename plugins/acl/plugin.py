"""Policies as access control lists: NetworkPolicy, and those of the cluster's administrator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ovnloom.core.desired.model import Contribution
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, NODES, PODS, Node
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.acl import admin_rows, rows
from ovnloom.plugins.acl.admin import ANPS, BANPS, CNPS, RESOLVERS, AdminPolicy, BaselineAdminNetworkPolicy
from ovnloom.plugins.acl.model import NETWORK_POLICIES, NetworkPolicy
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

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        # pods come first: when a policy's group is compared, all its members must be known
        return [NAMESPACES, PODS, NODES, *POLICIES, RESOLVERS]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def validate(self, obj: Object, view: View) -> Iterable[str]:
        match obj:
            case AdminPolicy():
                yield from admin_problems(obj)
                yield from rivals(obj, view)

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
