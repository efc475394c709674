"""What the product leaves on a node, taken away again: for ``helm uninstall``, when no agent runs any more."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from pathlib import Path

import structlog

from ovnloom.agent import conflist, kernel, netns, nft, nic, ovs
from ovnloom.core.desired.host import BRIDGE, NODE_LINK, Address, Link
from ovnloom.core.names import VENDOR

log = structlog.get_logger()

TUNNEL_BRIDGE = "br-phy"  # of a userspace datapath; start-ovs.sh made it and noted on it what it took from which NIC


@dataclass(frozen=True, slots=True)
class Taken:
    """What ``br-phy`` took over from *nic*: *addresses* with prefix lengths, *routes* in the words of ``ip route``."""

    nic: str
    addresses: tuple[str, ...] = ()
    routes: tuple[tuple[str, ...], ...] = ()


async def run(
    *,
    ovs_socket: str = "unix:/run/openvswitch/db.sock",
    conf_dir: str = "/etc/cni/net.d",
    cni_socket: str = "/run/openvswitch/kube-ovn-daemon.sock",
) -> list[str]:
    """Removes the CNI configuration and socket, our nftables table, the pods' cards, ``ovn0`` with its routes, and our bridges;
    the tunnel NIC gets back what ``br-phy`` took from it.

    *ovs_socket* ``""``: there is no switch to ask any more; then its database and the tunnel NIC are left as they are.
    Returns what was removed. May be run again. Raises ``OSError``, ``TimeoutError`` or ``SwitchError`` for what could not be done.
    """
    removed: list[str] = []
    for path in (Path(conf_dir) / conflist.FILE, Path(cni_socket)):  # first: the kubelet starts no more pods on us
        if path.exists():
            path.unlink()
            removed.append(str(path))
    if await nft.held():
        await nft.replace("")
        removed.append(f"nftables table inet {nft.TABLE}")
    if ovs_socket:
        removed += await _bridges(ovs_socket)
    removed += await netns.in_thread(_node_link)
    log.info("node.cleaned", removed=removed)
    return removed


async def _bridges(endpoint: str) -> list[str]:
    switch = ovs.Switch(endpoint)
    switch.start()
    try:
        async with asyncio.timeout(switch.timeout):
            await switch.changes.until(lambda: switch.connected or None)
        interfaces = (i for i in switch.interfaces.values() if i.external_ids.get("vendor") == VENDOR)
        ports = [i.name for i in interfaces if switch.bridge_of(i.name) == BRIDGE]
        ours = [b for name in (BRIDGE, TUNNEL_BRIDGE) if (b := switch.bridges.get(name)) and b.external_ids.get("vendor") == VENDOR]
        taken = next((taken_over(b) for b in ours if b.name == TUNNEL_BRIDGE), None)
        removals = [ovs.remove_port(BRIDGE, switch.ports[name].uuid) for name in ports]
        await switch.commit([*removals, *(ovs.remove_bridge(bridge.uuid) for bridge in ours), ovs.next_cfg()])
        await netns.in_thread(lambda: [nic.delete(name) for name in ports if name != NODE_LINK])
        if taken and taken.nic:
            await netns.in_thread(lambda: _give_back(taken))
        return [f"port {name}" for name in ports] + [f"bridge {bridge.name}" for bridge in ours]
    finally:
        await switch.stop()


def taken_over(bridge: ovs.Bridge) -> Taken:
    """Reads the notes that start-ovs.sh left on ``br-phy``: addresses with blanks between, routes with ``;`` between."""
    notes = bridge.external_ids
    routes = tuple(tuple(line.split()) for line in notes.get("routes", "").split(";") if line.strip())
    return Taken(notes.get("nic", ""), tuple(notes.get("addresses", "").split()), routes)


def _give_back(taken: Taken) -> None:
    nic.delete(TUNNEL_BRIDGE)  # a userspace switch leaves its taps when it is killed; the address must not be in two places
    kernel.ensure([Link(taken.nic), *(Address(taken.nic, address) for address in taken.addresses)])
    for words in taken.routes:
        done = subprocess.run(["ip", "route", "replace", *words, "dev", taken.nic], check=False, capture_output=True, text=True)
        if done.returncode:
            log.warning("route.lost", route=" ".join(words), reason=done.stderr.strip())


def _node_link() -> list[str]:
    kernel.remove(state.route for state in kernel.observe([NODE_LINK], [], "").routes if state.ours)
    return [f"device {NODE_LINK}"] if nic.delete(NODE_LINK) else []
