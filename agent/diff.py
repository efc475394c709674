"""What is wanted of the node against what it is, as writes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ovnloom.agent import ovs
from ovnloom.agent.kernel import Kernel
from ovnloom.core.desired.host import Address, HostState, Link, OpenVSwitch, OvsPort, Route, Sysctl
from ovnloom.core.net import network

# What the tunnel's headers take of each packet (bytes), by ovn-encap-type; IPv6 outside takes 20 more.
_OVERHEAD = {"geneve": 100, "vxlan": 50, "stt": 72}


@dataclass(slots=True)
class Writes:
    """*blocked*: what cannot be done before something else exists, as sentences."""

    operations: list[ovs.Operation] = field(default_factory=list)
    ensure: list[Link | Address | Route | Sysctl] = field(default_factory=list)
    remove: list[Address | Route] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.operations) + len(self.ensure) + len(self.remove)


def network_mtu(configured: int, tunnel_mtu: int, external_ids: Mapping[str, str]) -> int:
    """The MTU of pods and of the node's port: what is *configured*, else what the tunnels leave; 0 if nothing is known yet."""
    if configured or not tunnel_mtu:
        return configured
    outside = 20 if ":" in external_ids.get("ovn-encap-ip", "") else 0
    return tunnel_mtu - max(_OVERHEAD.get(kind, 100) for kind in external_ids.get("ovn-encap-type", "geneve").split(",")) - outside


def switch_writes(wanted: Iterable[HostState], switch: ovs.Switch, mtu: int = 0) -> Writes:
    """Writes to the local switch. Ports and keys that nobody wants are left: pods' ports are ADD's and DEL's.

    *mtu* is asked for in the switch's own words, where it is known: by itself the switch lowers an internal port to the
    smallest of its bridge, and we would raise it again for ever.
    """
    writes = Writes()
    for value in wanted:
        if isinstance(value, OvsPort):
            _port(value, switch, mtu if value.type == "internal" else 0, writes)
        elif isinstance(value, OpenVSwitch) and switch.external_ids.get(value.external_id) != value.value:
            writes.operations.append(ovs.set_keys("Open_vSwitch", [], "external_ids", {value.external_id: value.value}))
    return writes


def _port(port: OvsPort, switch: ovs.Switch, mtu: int, writes: Writes) -> None:
    if port.bridge not in switch.bridges:
        writes.blocked.append(f"the switch has no bridge {port.bridge} yet")
        return
    interface, bridge = switch.interfaces.get(port.name), switch.bridge_of(port.name)
    if interface is None or bridge != port.bridge:
        if bridge:
            writes.operations.append(ovs.remove_port(bridge, switch.ports[port.name].uuid))
        writes.operations += ovs.add_port(port.bridge, port.name, type=port.type, mac=port.mac, external_ids=port.external_ids)
        return
    where = [["name", "==", port.name]]
    changed: dict[str, object] = {}
    if interface.type != port.type:
        changed["type"] = port.type
    if port.mac and interface.mac != port.mac:
        changed["mac"] = port.mac
    if mtu and interface.mtu_request != mtu:
        changed["mtu_request"] = mtu
    if changed:
        writes.operations.append({"op": "update", "table": "Interface", "where": where, "row": changed})
    if keys := {key: value for key, value in port.external_ids.items() if interface.external_ids.get(key) != value}:
        writes.operations.append(ovs.set_keys("Interface", where, "external_ids", keys))
    if changed:
        writes.operations.append(ovs.next_cfg())


def kernel_writes(wanted: Iterable[HostState], kernel: Kernel, mtu: int, userspace: bool) -> Writes:
    """Writes to the kernel: links, then settings, addresses and routes, then what is not wanted any more.

    Of addresses only those of links that somebody wants an address on are taken away, of routes only our own.
    """
    writes = Writes()
    values = list(wanted)
    for value in values:
        if isinstance(value, Link):
            _link(value, kernel, mtu, userspace, writes)
        elif isinstance(value, Sysctl):
            _sysctl(value, kernel, writes)
    addresses = {v for v in values if isinstance(v, Address)}
    for address in sorted(addresses, key=lambda a: a.key):
        if address.link in kernel.links and address not in kernel.addresses:
            writes.ensure.append(address)
        elif address.link not in kernel.links:
            writes.blocked.append(f"there is no device {address.link} yet")
    managed = {address.link for address in addresses}
    writes.remove += sorted((a for a in kernel.addresses - addresses if a.link in managed), key=lambda a: a.key)
    # the kernel itself makes the route to the network of an address, as soon as it has the address
    coming = {(a.link, str(network(a.address))) for a in writes.ensure if isinstance(a, Address)}
    routes = [v for v in values if isinstance(v, Route) and (v.gateway or (v.link, v.destination) not in coming)]
    _routes(routes, kernel, writes)
    writes.blocked = list(dict.fromkeys(writes.blocked))
    return writes


def _link(link: Link, kernel: Kernel, mtu: int, userspace: bool, writes: Writes) -> None:
    state = kernel.links.get(link.name)
    if state is None:
        writes.blocked.append(f"there is no device {link.name} yet")
        return
    wanted = replace(link, mtu=link.mtu or mtu, checksum=False if link.checksum is None and userspace else link.checksum)
    if not wanted.mtu:
        writes.blocked.append("no device has the tunnels' address (external_ids:ovn-encap-ip) yet, so the MTU is not known")
        return
    same = (
        state.up == wanted.up
        and state.mtu == wanted.mtu
        and wanted.mac in ("", state.mac)
        and (wanted.checksum is None or state.checksum is None or state.checksum == wanted.checksum)
    )
    if not same:
        writes.ensure.append(wanted)


def _sysctl(sysctl: Sysctl, kernel: Kernel, writes: Writes) -> None:
    held = kernel.sysctls.get(sysctl.path)
    if held is None:
        writes.blocked.append(f"the kernel has no setting {sysctl.path} yet")
    elif held != sysctl.value:
        writes.ensure.append(sysctl)


def _routes(wanted: list[Route], kernel: Kernel, writes: Writes) -> None:
    needed = set()
    for route in sorted(wanted, key=lambda r: (bool(r.gateway), r.key)):  # gateways must be on a link before they are used
        if route.link not in kernel.links:
            writes.blocked.append(f"there is no device {route.link} yet")
            continue
        matching = {state.route for state in kernel.routes if _serves(route, state.route)}
        needed |= matching
        if not matching:
            writes.ensure.append(route)
    writes.remove += sorted((s.route for s in kernel.routes if s.ours and s.route not in needed), key=lambda r: r.key)


def _serves(wanted: Route, held: Route) -> bool:
    same_way = (wanted.destination, wanted.link, wanted.gateway) == (held.destination, held.link, held.gateway)
    return same_way and wanted.source in ("", held.source)
