"""The per-node daemon: watches its own Node, the Pods on it and the Subnets; keeps the node; serves the CNI binary."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ovnloom.agent import conflist, server
from ovnloom.agent.attach import Attachments
from ovnloom.agent.host import Host
from ovnloom.agent.ovs import Switch
from ovnloom.agent.signal import Signal
from ovnloom.core import health
from ovnloom.core.config import Config
from ovnloom.core.desired.host import HostState, merge
from ovnloom.core.kube import backoff
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import MERGE_PATCH, ApiError, Client
from ovnloom.core.kube.kinds import NODES, PODS, SUBNETS, Node, Pod, Subnet
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id
from ovnloom.core.kube.reflector import Reflector
from ovnloom.core.names import CHASSIS
from ovnloom.core.plugins import AGENT, PluginSet, load
from ovnloom.core.view import View

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """*mtu* 0: what the tunnels leave. *port* (of health) 0: none. *timeout*: the most that ADD waits, in seconds."""

    node_name: str
    kubeconfig: str = ""
    cni_socket: str = "/run/openvswitch/kube-ovn-daemon.sock"
    ovs_socket: str = "unix:/run/openvswitch/db.sock"
    conf_dir: str = "/etc/cni/net.d"
    port: int = 10665
    mtu: int = 0
    timeout: float = 200.0


class Agent:
    """All parts, put together. Belongs to one event loop."""

    def __init__(self, plugins: PluginSet, client: Client, options: Options) -> None:
        self._plugins, self.client, self._options = plugins, client, options
        name = options.node_name
        self.nodes: Cache[Node] = Cache(replace(NODES, field_selector=f"metadata.name={name}"), self._node_changed)
        self.pods: Cache[Pod] = Cache(replace(PODS, field_selector=f"spec.nodeName={name}"), self._pod_changed)
        self.subnets: Cache[Subnet] = Cache(SUBNETS, self._node_changed)
        self.switch = Switch(options.ovs_socket)
        self.host = Host(self.switch, self._wanted, mtu=options.mtu)
        self.objects = Signal()
        self.attachments = Attachments(
            self.switch, self.host, self.pods, self.subnets, self.objects, unready=self.unready, timeout=options.timeout
        )
        self._values: dict[str, tuple[HostState, ...]] = {}  # each plugin's last good word
        self._faults: list[str] = []
        self._stale = True
        self._merged: Mapping[str, HostState] = {}
        self._synced = self._bound = False

    def unready(self) -> list[str]:
        """What is missing for a pod to be attached, as sentences."""
        lacking = [] if self._synced else ["the API server has not told yet of this node, its pods and the Subnets"]
        lacking += [] if self._bound else ["the CNI socket is not bound yet"]
        lacking += [] if self.switch.connected else [f"no connection to the local switch at {self.switch.endpoint}"]
        return list(dict.fromkeys([*lacking, *self.host.problems, *self._faults]))

    # what is wanted of the node

    def _node_changed(self, _kind: Kind[Any], _key: Key, _old: Object | None, _new: Object | None) -> None:
        self._stale = True
        self.host.changed()
        self.objects.changed()

    def _pod_changed(self, _kind: Kind[Any], _key: Key, _old: Object | None, _new: Object | None) -> None:
        self.objects.changed()

    def _wanted(self) -> Mapping[str, HostState]:
        node = self.nodes.get("", self._options.node_name)
        if not self._synced or node is None:
            return {}
        if self._stale:
            self._stale = False
            self._render(node)
        return self._merged

    def _render(self, node: Node) -> None:
        caches: dict[str, Any] = {kind_id(NODES): self.nodes, kind_id(PODS): self.pods, kind_id(SUBNETS): self.subnets}
        view = View(caches)
        self._faults = []
        for outcome in self._plugins.fan_out("node_state", node=node, view=view):
            if outcome.error:
                log.error("plugin.failed", plugin=outcome.plugin.name, hook="node_state", exc_info=outcome.error)
                self._faults.append(f"plugin {outcome.plugin.name} failed: {outcome.error}")
            else:
                self._values[outcome.plugin.name] = outcome.result
        ordered = [(plugin.name, self._values.get(plugin.name, ())) for plugin in self._plugins.plugins]
        self._merged, conflicts = merge(ordered)
        self._faults += [str(conflict) for conflict in conflicts]

    # tasks

    async def run(self) -> None:
        """Serves until cancelled."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            await stack.enter_async_context(health.serving(self._options.port, self.unready))
            self.switch.start()
            stack.push_async_callback(self.switch.stop)
            caches: tuple[Cache[Any], ...] = (self.nodes, self.subnets, self.pods)
            reflectors = [Reflector(self.client, cache) for cache in caches]
            for reflector in reflectors:
                tasks.create_task(reflector.run())
            tasks.create_task(self.host.run())
            tasks.create_task(self._publish_chassis())
            await asyncio.gather(*(reflector.synced() for reflector in reflectors))
            self._synced = True
            gc.collect()
            gc.freeze()
            cni = await server.serve_cni(server.cni_application(self.attachments.handle), Path(self._options.cni_socket))
            stack.push_async_callback(cni.cleanup)
            self._bound = True
            self.host.changed()
            log.info("agent.serving", socket=self._options.cni_socket)
            await self.host.changes.until(lambda: None if self.unready() else True)
            written = conflist.write(Path(self._options.conf_dir), self._options.cni_socket)
            log.info("agent.ready", mtu=self.host.mtu, configuration_written=written)

    async def _publish_chassis(self) -> None:
        """Tells the Node which chassis it is: the one thing that the agent writes to the API server."""
        name, failures = self._options.node_name, 0
        self.switch.changes.listen(self.objects.changed)
        while True:
            chassis = await self.objects.until(self._unpublished)
            body = json.dumps({"metadata": {"annotations": {CHASSIS: chassis}}}).encode()
            try:
                answer = await self.client.request("PATCH", NODES.path(name=name), body=body, content_type=MERGE_PATCH)
            except ApiError as error:
                failures += 1
                log.warning("chassis.unpublished", reason=str(error))
                await asyncio.sleep(backoff.delay(failures, first=0.5, most=30.0))
                continue
            failures = 0
            self.nodes.upsert(msgspec.json.decode(answer, type=Node))

    def _unpublished(self) -> str | None:
        node, chassis = self.nodes.get("", self._options.node_name), self.switch.external_ids.get("system-id", "")
        return chassis if node and chassis and node.metadata.annotations.get(CHASSIS) != chassis else None


async def run(config: Config, **options: Any) -> None:
    """The daemon, until cancelled. *options* are the fields of ``Options``.

    Raises ``ConfigError`` if it cannot start, ``OSError`` if it cannot listen.
    """
    plugins = load(AGENT, config)
    settings = Options(**options)
    async with Client.load(settings.kubeconfig) as client:
        await Agent(plugins, client, settings).run()
