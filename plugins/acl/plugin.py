"""Policies as access control lists: NetworkPolicy."""

from __future__ import annotations

from collections.abc import Iterable

from ovnloom.core.desired.model import Contribution
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import NAMESPACES, NODES, PODS, Node
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.ovn.priorities import Band, register
from ovnloom.core.plugins import Plugin
from ovnloom.core.view import View
from ovnloom.plugins.acl import rows
from ovnloom.plugins.acl.model import NETWORK_POLICIES, NetworkPolicy

FROM_NODE = register(Band("ACL", "from-and-to-own-node", 3000, "acl"))
ALLOWED = register(Band("ACL", "allowed-by-policy", 2001, "acl"))
ISOLATED = register(Band("ACL", "isolated-by-policy", 2000, "acl"))


class AclPlugin(Plugin):
    name, requires, critical = "acl", ("subnet", "node"), True

    @hookimpl
    def resource_kinds(self) -> Iterable[Kind[Object]]:
        # pods come first: when a policy's group is compared, all its members must be known
        return [NAMESPACES, PODS, NODES, NETWORK_POLICIES]  # type: ignore[list-item]  # Kind is invariant in its struct

    @hookimpl
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:
        if isinstance(obj, NetworkPolicy):
            yield from rows.policy_rows(obj, view, ISOLATED.priority, ALLOWED.priority)
        elif isinstance(obj, Node) and view.exists(NETWORK_POLICIES):
            yield from rows.node_rows(obj, FROM_NODE.priority)
