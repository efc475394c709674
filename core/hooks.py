"""Every hook, and nothing else. A plugin implements what it needs and names only the arguments it uses.

``desired_state``, ``validate``, ``address_request``, ``status`` and ``node_state`` are pure: no I/O, no clock, no globals.
They return data; core acts. ``docs/hooks.md`` has a section for each, ``tests/conventions`` checks that it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ovnloom.core.desired.host import HostState
    from ovnloom.core.desired.model import AddressRequest, Contribution
    from ovnloom.core.kube.kinds import Node
    from ovnloom.core.kube.objects import Kind, Object
    from ovnloom.core.view import View

API_VERSION = "1.0"

PROJECT = "ovnloom"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class ControllerHooks:
    """Hooks of kube-ovn-controller."""

    @hookspec
    def resource_kinds(self) -> Iterable[Kind[Object]]:  # type: ignore[empty-body]
        """Kinds this plugin reads. Core watches the union, and renders every object of each.

        The order counts once, at start: kinds that define address pools come before those that ask for addresses.

        .. versionadded:: 1.0
        """

    @hookspec
    def validate(self, obj: Object, view: View) -> Iterable[str]:  # type: ignore[empty-body]
        """Sentences for the author of *obj*: which field is wrong and what would be right.

        Any sentence keeps the last good state of the object, and becomes an Event and a condition.

        .. versionadded:: 1.0
        """

    @hookspec(firstresult=True)
    def address_request(self, obj: Object, view: View) -> Sequence[AddressRequest] | None:
        """Addresses that *obj* wants: ``None`` = not mine to say, ``()`` = none.

        Raises ``Invalid`` for a request that can never be met, ``Stale`` (``core.view``) when a cache is too old to decide.

        .. versionadded:: 1.0
        """

    @hookspec
    def desired_state(self, obj: Object, view: View) -> Iterable[Contribution]:  # type: ignore[empty-body]
        """What should exist, in OVN and in Kubernetes, because *obj* exists.

        Read other objects only through *view*: core records each read, and calls this hook again when what was
        read changes. Leaving something out deletes it.

        .. versionadded:: 1.0
        """

    @hookspec
    def status(self, obj: Object, view: View) -> Mapping[str, object] | None:
        """Fields of ``status`` of *obj*. Conditions are given without times: core adds them when they change.

        .. versionadded:: 1.0
        """


class AgentHooks:
    """Hooks of kube-ovn-cni, on every node."""

    @hookspec
    def node_state(self, node: Node, view: View) -> Iterable[HostState]:  # type: ignore[empty-body]
        """What the kernel and the local switch of *node* should look like: links, routes, ports, NAT.

        .. versionadded:: 1.0
        """
