"""Keeps the node as it is wanted: reads what is, writes what differs, and looks again when somebody changed something.

Nothing here runs by the clock, but for the pause after a write that failed. When nothing differs, nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ovnloom.agent import kernel, netns, nft
from ovnloom.agent.diff import Writes, kernel_writes, network_mtu, switch_writes
from ovnloom.agent.notices import Notices
from ovnloom.agent.ovs import Switch, SwitchError
from ovnloom.agent.signal import Signal
from ovnloom.core.desired.host import Address, HostState, Link, NftRule, NftSet, OvsPort, Route, Sysctl
from ovnloom.core.kube import backoff

log = structlog.get_logger()

SETTLE = 0.02  # seconds: notices come in bursts (a veth makes a dozen); they are looked at together


class Host:
    """*wanted* gives the node's desired values by key; ``changed`` says that they, or the node, may be others now."""

    def __init__(self, switch: Switch, wanted: Callable[[], Mapping[str, HostState]], *, mtu: int = 0) -> None:
        self._switch, self._wanted, self._configured_mtu = switch, wanted, mtu
        self.mtu = 0  # of pods without a Subnet's own; 0: not known yet
        self.problems: tuple[str, ...] = ("not looked at yet",)
        self.changes = Signal()
        self.kernel_writes = self.firewall_writes = 0
        self._dirty = asyncio.Event()
        self._firewall_dirty = True
        self._text = ""  # of the table, as rendered
        self._printed = ""  # the same, as nft prints it
        self._notices = Notices(self.changed, self._firewall_changed)
        self._seen: object = None  # of the switch, what concerns the node itself

    @property
    def ready(self) -> bool:
        return not self.problems

    def changed(self) -> None:
        self._dirty.set()

    def _firewall_changed(self) -> None:
        self._firewall_dirty = True
        self._dirty.set()

    def _switch_changed(self) -> None:
        ports = [value.name for value in self._wanted().values() if isinstance(value, OvsPort)]
        switch = self._switch
        state = [(switch.interfaces.get(name), switch.bridge_of(name)) for name in ports]
        seen = (switch.connected, switch.external_ids, sorted(switch.bridges), state)
        if seen != self._seen:  # ports of pods come and go
            self._seen = seen
            self.changed()

    async def run(self) -> None:
        """Never returns; cancel it."""
        self._switch.changes.listen(self._switch_changed)
        self._notices.start()
        self._dirty.set()
        failures = 0
        try:
            while True:
                await self._woken(backoff.delay(failures, first=0.2, most=10.0) if failures else None)
                try:
                    self._report(await self.converge())
                    failures = 0
                except (OSError, SwitchError, ValueError) as error:
                    failures += 1
                    log.warning("host.failed", reason=str(error), failures=failures)
                    self._report([str(error)])
        finally:
            self._notices.stop()

    async def _woken(self, at_most: float | None) -> None:
        """Returns when something changed, after a failure also when its pause is over."""
        try:
            await asyncio.wait_for(self._dirty.wait(), at_most)
            await asyncio.sleep(SETTLE)
        except TimeoutError:
            pass
        self._dirty.clear()

    def _report(self, problems: list[str]) -> None:
        if (now := tuple(problems)) != self.problems:
            log.info("host.state", problems=problems) if problems else log.info("host.ready", mtu=self.mtu)
        self.problems = now
        self.changes.changed()

    async def converge(self) -> list[str]:
        """One look and the writes that follow. Returns what is missing for all to be as wanted.

        Raises ``OSError`` (kernel, nft), ``SwitchError`` or ``ValueError`` (a plugin's value that nobody could make true).
        """
        wanted = self._wanted()
        if not wanted:
            return ["the Node has no address on the join Subnet yet (the controller gives it)"]
        if not self._switch.connected:
            return [f"no connection to the local switch at {self._switch.endpoint}"]
        values = list(wanted.values())
        before = self.mtu
        blocked = await self._on_switch(values) + await self._kernel(values)
        if self.mtu != before:  # only now it is known what the tunnels leave
            await self._on_switch(values)
        await self._firewall(values)
        return blocked

    async def _on_switch(self, values: list[HostState]) -> list[str]:
        writes = switch_writes(values, self._switch, self.mtu)
        if writes.operations:
            log.info("switch.written", operations=len(writes.operations))
            await self._switch.commit(writes.operations)
        return writes.blocked

    async def _kernel(self, values: list[HostState]) -> list[str]:
        links = {v.name for v in values if isinstance(v, Link)} | {v.link for v in values if isinstance(v, Address | Route)}
        settings = {v.path for v in values if isinstance(v, Sysctl)}
        tunnel = self._switch.external_ids.get("ovn-encap-ip", "").split(",")[0]
        state = await netns.in_thread(lambda: kernel.observe(links, settings, tunnel))
        self._notices.links = frozenset({*links, state.tunnel}) if state.tunnel else frozenset()
        self.mtu = network_mtu(self._configured_mtu, state.mtu, self._switch.external_ids)
        writes = kernel_writes(values, state, self.mtu, self._switch.userspace)
        if writes.count:
            self.kernel_writes += writes.count
            log.info("kernel.written", set=[v.key for v in writes.ensure], removed=[v.key for v in writes.remove])
            await netns.in_thread(lambda: _write(writes))
        return writes.blocked

    async def _firewall(self, values: list[HostState]) -> None:
        text = nft.render(v for v in values if isinstance(v, NftSet | NftRule))
        if text == self._text and not self._firewall_dirty:
            return
        if text != self._text:
            self._printed = await nft.printed(text)
            self._text = text
        self._firewall_dirty = False
        if await nft.held() != self._printed:
            self._firewall_dirty = True  # until the write has succeeded
            self.firewall_writes += 1
            log.info("firewall.written", rules=text.count("masquerade"))
            await nft.replace(text)
            self._firewall_dirty = False


def _write(writes: Writes) -> None:
    kernel.ensure(writes.ensure)
    kernel.remove(writes.remove)
