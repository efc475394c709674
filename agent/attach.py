"""What the container runtime asks for: ADD, DEL, CHECK, GC, STATUS. The imperative part of the agent.

ADD waits for what others do (the controller's annotations, ovn-controller's flows) and is woken when it is done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from weakref import WeakValueDictionary

import structlog

from ovnloom.agent import netns, nic, ovs, result
from ovnloom.agent.host import Host
from ovnloom.agent.nic import Nic, host_end
from ovnloom.agent.request import DIFFERS, ENVIRONMENT, FAILED, NOT_AVAILABLE, TRY_AGAIN, UNKNOWN_CONTAINER, CniError, Request
from ovnloom.agent.signal import Signal
from ovnloom.agent.undo import Undo
from ovnloom.core.desired.host import BRIDGE
from ovnloom.core.errors import shown
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.kinds import Pod, Subnet
from ovnloom.core.names import ALLOCATED, CIDR, GATEWAY, IP_ADDRESS, LOGICAL_SWITCH, MAC_ADDRESS, ROUTED, VENDOR, pod_port
from ovnloom.core.net import split, with_prefix

log = structlog.get_logger()

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)


class _Progress:
    """What an ADD waits for now, for the sentence that is said if it waits for too long."""

    def __init__(self) -> None:
        self.waiting_for = "an earlier request for the same container"
        self.seen = False


class Attachments:
    """*pods* are this node's, *pods_changed* tells of them; *unready* says what the agent lacks to serve. *timeout*: of ADD, in seconds."""

    def __init__(
        self,
        switch: ovs.Switch,
        host: Host,
        pods: Cache[Pod],
        subnets: Cache[Subnet],
        pods_changed: Signal,
        *,
        unready: Callable[[], list[str]],
        timeout: float = 200.0,
    ) -> None:
        self._switch, self._host, self._pods, self._subnets, self._pods_changed = switch, host, pods, subnets, pods_changed
        self._unready, self._timeout = unready, timeout
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, request: Request) -> bytes:
        """The answer's body. Raises ``CniError``."""
        verbs = {"add": self.add, "del": self.delete, "check": self.check, "gc": self.collect, "status": self.status}
        try:
            return await verbs[request.verb](request)
        except CniError as error:
            error.version = request.version
            raise
        except ovs.SwitchError as error:
            raise CniError(TRY_AGAIN, str(error), version=request.version) from error
        except OSError as error:
            raise CniError(FAILED, error.strerror or str(error), version=request.version) from error

    @asynccontextmanager
    async def _alone(self, host: str) -> AsyncIterator[None]:
        """One request at a time for each network card."""
        lock = self._locks.get(host)
        if lock is None:
            lock = self._locks[host] = asyncio.Lock()
        async with lock:
            yield

    # ADD

    async def add(self, request: Request) -> bytes:
        progress = _Progress()
        try:
            async with asyncio.timeout(self._timeout), self._alone(host_end(request.container, request.interface)):
                with ExitStack() as stack:
                    try:
                        namespace = stack.enter_context(netns.opened(request.netns))
                    except FileNotFoundError as error:
                        raise CniError(ENVIRONMENT, f"CNI_NETNS: there is no {request.netns}") from error
                    except ValueError as error:
                        raise CniError(ENVIRONMENT, f"CNI_NETNS: {error}") from error
                    return await self._add(request, namespace, progress)
        except TimeoutError as error:
            raise CniError(TRY_AGAIN, f"gave up after {self._timeout:g} s of waiting for {progress.waiting_for}") from error

    async def _add(self, request: Request, namespace: int, progress: _Progress) -> bytes:
        pod = await self._pods_changed.until(lambda: self._routed(request, progress))
        progress.waiting_for = "the node's own network (see the agent's /readyz)"
        await self._host.changes.until(lambda: self._host.mtu or None)
        await self._switch.changes.until(lambda: True if self._switch.connected and BRIDGE in self._switch.bridges else None)
        card = self._card(request, pod)
        async with Undo() as undo:
            undo.push("veth", lambda: netns.in_thread(lambda: nic.delete(card.host)))
            await netns.in_thread(lambda: nic.create(card, namespace))
            inside = asyncio.create_task(netns.inside(namespace, lambda: nic.configure(card)))
            try:
                undo.push("port", lambda: self._remove_ports([card.host]))
                await self._add_port(request, card)
            finally:
                await inside
            progress.waiting_for = f"ovn-controller to install the flows of {card.host} (external_ids:ovn-installed)"
            await self._switch.changes.until(lambda: self._installed(card.host))
            log.info("pod.attached", pod=f"{request.namespace}/{request.pod}", port=card.host, addresses=card.addresses)
            return result.added(card, request.netns, request.version)

    def _routed(self, request: Request, progress: _Progress) -> Pod | None:
        """The pod, once the controller has published its address and its port is committed."""
        name = f"{request.namespace}/{request.pod}"
        pod = self._pods.get(request.namespace, request.pod)
        if pod is None or (request.uid and pod.metadata.uid != request.uid):
            if progress.seen:
                raise CniError(FAILED, f"pod {name} was deleted meanwhile")
            known = f", not {pod.metadata.uid}," if pod else ""
            progress.waiting_for = f"pod {name} with uid {request.uid or 'any'}{known} to be bound to this node by the API server"
            return None
        progress.seen = True
        notes = pod.metadata.annotations
        if notes.get(ALLOCATED) != "true" or not notes.get(IP_ADDRESS):
            progress.waiting_for = f"the controller to give pod {name} an address (annotation {ALLOCATED}; its Events may say why not)"
        elif notes.get(ROUTED) != "true":
            progress.waiting_for = f"the port of pod {name} in OVN (annotation {ROUTED})"
        else:
            return pod
        return None

    def _card(self, request: Request, pod: Pod) -> Nic:
        notes = pod.metadata.annotations
        subnet = self._subnets.get("", notes.get(LOGICAL_SWITCH, ""))
        try:
            addresses = tuple(with_prefix(notes[IP_ADDRESS], notes.get(CIDR, "")).split(","))
        except ValueError as error:
            name = f"{request.namespace}/{request.pod}"
            raise CniError(FAILED, f"annotations {IP_ADDRESS} and {CIDR} of pod {name}: {error}") from error
        mac = notes.get(MAC_ADDRESS, "").lower()
        if not _MAC.fullmatch(mac):
            raise CniError(FAILED, f"annotation {MAC_ADDRESS} of pod {request.namespace}/{request.pod}: {shown(mac)} is not a MAC address")
        versions = {6 if ":" in address else 4 for address in addresses}
        v4, v6 = split(notes.get(GATEWAY, ""))
        return Nic(
            host=host_end(request.container, request.interface),
            name=request.interface,
            mac=mac,
            addresses=addresses,
            gateways=tuple(gateway for gateway, version in ((v4, 4), (v6, 6)) if gateway and version in versions),
            mtu=(subnet.spec.mtu if subnet else 0) or self._host.mtu,
            checksum=not self._switch.userspace,
        )

    async def _add_port(self, request: Request, card: Nic) -> None:
        iface_id = pod_port(request.namespace, request.pod)
        addresses = ",".join(address.partition("/")[0] for address in card.addresses)
        ids = {
            "iface-id": iface_id,
            "vendor": VENDOR,
            "pod_name": request.pod,
            "pod_namespace": request.namespace,
            "pod_netns": request.netns,
            "ip": addresses,
        }
        # two interfaces with one iface-id would fight for the port: an earlier sandbox of the pod may have left one
        stale = {card.host, *(interface.name for interface in self._switch.by_iface_id(iface_id))}
        await self._switch.commit([*self._removals(stale), *ovs.add_port(BRIDGE, card.host, external_ids=ids)])

    def _installed(self, host: str) -> bool | None:
        interface = self._switch.interfaces.get(host)
        if interface is None:
            raise CniError(TRY_AGAIN, f"port {host} was taken off {BRIDGE} while its flows were waited for")
        if interface.error:
            raise CniError(TRY_AGAIN, f"the switch cannot use {host}: {interface.error}")
        return True if interface.external_ids.get("ovn-installed") == "true" else None

    # DEL and GC

    def _removals(self, names: set[str]) -> list[ovs.Operation]:
        ports = self._switch.ports
        return [ovs.remove_port(self._switch.bridge_of(name) or BRIDGE, ports[name].uuid) for name in sorted(names & ports.keys())]

    async def _remove_ports(self, names: list[str]) -> None:
        if removals := self._removals(set(names)):
            await self._switch.commit([*removals, ovs.next_cfg()])

    async def delete(self, request: Request) -> bytes:
        """Succeeds when there is nothing (any more); fails only while it cannot be known that the port is gone."""
        host = host_end(request.container, request.interface)
        async with self._alone(host):
            if self._switch.connected:
                await self._remove_ports([host])
            gone = await netns.in_thread(lambda: nic.delete(host))
            if not self._switch.connected:
                raise CniError(TRY_AGAIN, f"the local switch does not answer, so port {host} may still be there")
            if gone:
                log.info("pod.detached", port=host)
        return b""

    async def collect(self, request: Request) -> bytes:
        """GC: takes away our pods' ports that the runtime does not list."""
        if not self._switch.connected:
            raise CniError(TRY_AGAIN, "the local switch does not answer")
        kept = {host_end(attachment.container, attachment.ifname) for attachment in request.attachments} | set(self._locks)
        ours = [i.name for i in self._switch.interfaces.values() if i.external_ids.get("vendor") == VENDOR and "pod_name" in i.external_ids]
        stale = [name for name in ours if name not in kept]
        await self._remove_ports(stale)
        await netns.in_thread(lambda: [nic.delete(name) for name in stale])
        if stale:
            log.info("ports.collected", ports=stale)
        return b""

    # CHECK and STATUS

    async def check(self, request: Request) -> bytes:
        host, iface_id, previous = (
            host_end(request.container, request.interface),
            pod_port(request.namespace, request.pod),
            request.previous,
        )
        assert previous is not None
        index = next((n for n, i in enumerate(previous.interfaces) if i.name == request.interface), None)
        if index is None:
            raise CniError(DIFFERS, f"prevResult has no interface {request.interface}")
        ips = [ip for ip in previous.ips if ip.interface in (index, None)]
        card = Nic(
            host,
            request.interface,
            previous.interfaces[index].mac.lower(),
            tuple(ip.address for ip in ips),
            tuple(ip.gateway for ip in ips if ip.gateway),
            mtu=0,
        )
        try:
            with netns.opened(request.netns) as namespace:
                faults = await netns.inside(namespace, lambda: nic.faults(card))
        except (FileNotFoundError, ValueError) as error:
            raise CniError(UNKNOWN_CONTAINER, f"CNI_NETNS: there is no network namespace {request.netns}") from error
        interface = self._switch.interfaces.get(host)
        if interface is None or self._switch.bridge_of(host) != BRIDGE:
            faults.append(f"{BRIDGE} has no port {host}")
        elif interface.external_ids.get("iface-id") != iface_id:
            faults.append(f"port {host} belongs to {interface.external_ids.get('iface-id')}, not to {iface_id}")
        if faults:
            raise CniError(DIFFERS, "; ".join(faults))
        return b""

    async def status(self, request: Request) -> bytes:
        if lacking := self._unready():
            raise CniError(NOT_AVAILABLE, "; ".join(lacking))
        return b""
