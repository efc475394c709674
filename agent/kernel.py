"""The node's kernel: what it has now, and the writes. Blocking; called in a thread, in the namespace of that thread.

Only this module and ``nic.py`` know pyroute2.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ovnloom.core.desired.host import Address, Link, Route, Sysctl

MAIN_TABLE = 254
PROTOCOL = 111  # marks the routes that are ours (rtm_protocol; the kernel and the routing daemons have other numbers)
NODAD = 0x02
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

_SIOCETHTOOL, _GTXCSUM, _STXCSUM = 0x8946, 0x16, 0x17


@dataclass(frozen=True, slots=True)
class LinkState:
    index: int
    mac: str
    mtu: int
    up: bool
    checksum: bool | None = None


@dataclass(frozen=True, slots=True)
class RouteState:
    route: Route
    ours: bool


@dataclass(frozen=True, slots=True)
class Kernel:
    """What was asked for, as it is. A link or setting that does not exist is not in here."""

    links: Mapping[str, LinkState] = field(default_factory=dict)
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[RouteState] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    tunnel: str = ""  # the device that has the tunnels' address
    mtu: int = 0  # of that device; 0: there is none yet


def version(spelled: str) -> int:
    return 6 if ":" in spelled else 4


def observe(links: Iterable[str], sysctls: Iterable[str], tunnel_address: str) -> Kernel:
    """Reads the *links* with their addresses and routes, all routes of ours, the *sysctls*, and the tunnel device's MTU."""
    with IPRoute() as netlink:
        by_name = {message.get("IFLA_IFNAME"): message for message in netlink.get_links()}
        names = {message["index"]: name for name, message in by_name.items()}
        states = {name: _link_state(by_name[name]) for name in links if name in by_name}
        wanted = {state.index for state in states.values()}
        addresses, tunnel, mtu = set(), "", 0
        for message in netlink.get_addr():
            local = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
            if local == tunnel_address:
                tunnel = names[message["index"]]
                mtu = int(by_name[tunnel].get("IFLA_MTU"))
            if message["index"] in wanted and message["scope"] == 0:
                addresses.add(Address(names[message["index"]], f"{local}/{message['prefixlen']}"))
        routes = {state for family in FAMILIES.values() for state in _routes(netlink, family, names, wanted)}
    return Kernel(states, frozenset(addresses), frozenset(routes), _sysctls(sysctls), tunnel, mtu)


def _link_state(message: Any) -> LinkState:
    name = message.get("IFLA_IFNAME")
    return LinkState(
        message["index"], message.get("IFLA_ADDRESS") or "", message.get("IFLA_MTU"), bool(message["flags"] & 1), checksum(name)
    )


def _routes(netlink: Any, family: int, names: Mapping[int, str], wanted: set[int]) -> Iterable[RouteState]:
    for message in netlink.get_routes(family=family, table=MAIN_TABLE):
        index, ours = message.get("RTA_OIF"), message["proto"] == PROTOCOL
        if message.get("RTA_TABLE") != MAIN_TABLE or index not in names or not (ours or index in wanted):
            continue
        anything = "0.0.0.0" if family == socket.AF_INET else "::"
        destination = f"{message.get('RTA_DST') or anything}/{message['dst_len']}"
        yield RouteState(Route(destination, names[index], message.get("RTA_GATEWAY") or "", message.get("RTA_PREFSRC") or ""), ours)


def _sysctls(paths: Iterable[str]) -> Mapping[str, str]:
    found = {}
    for path in paths:
        try:
            found[path] = (Path("/proc/sys") / path).read_text().strip()
        except FileNotFoundError:
            continue
    return found


def write_sysctl(path: str, value: str) -> None:
    (Path("/proc/sys") / path).write_text(value)


def ensure(values: Iterable[Link | Address | Route | Sysctl]) -> None:
    """Makes each value true, in order. Raises ``OSError`` that names the value."""
    with IPRoute() as netlink:
        for value in values:
            try:
                _ensure(netlink, value)
            except (NetlinkError, OSError) as error:
                raise _named(value.key, error) from error


def remove(values: Iterable[Address | Route]) -> None:
    """Takes addresses and routes away; what is gone already is no error."""
    with IPRoute() as netlink:
        for value in values:
            try:
                if isinstance(value, Address):
                    address, _, prefix = value.address.partition("/")
                    netlink.addr("del", index=_index(netlink, value.link), address=address, prefixlen=int(prefix))
                else:
                    netlink.route("del", **_route_attributes(netlink, value))
            except (NetlinkError, OSError) as error:
                if _number(error) not in (errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV):
                    raise _named(value.key, error) from error


def _ensure(netlink: Any, value: Link | Address | Route | Sysctl) -> None:
    match value:
        case Sysctl(path, text):
            write_sysctl(path, text)
        case Link(name, mac, mtu, up, offload):
            attributes: dict[str, Any] = {"index": _index(netlink, name), "state": "up" if up else "down"}
            attributes |= {"address": mac} if mac else {}
            attributes |= {"mtu": mtu} if mtu else {}
            netlink.link("set", **attributes)
            if offload is not None:
                set_checksum(name, offload)
        case Address(link, text):
            address, _, prefix = text.partition("/")
            flags = {"flags": NODAD} if version(address) == 6 else {}
            netlink.addr("replace", index=_index(netlink, link), address=address, prefixlen=int(prefix), **flags)
        case Route():
            netlink.route("replace", **_route_attributes(netlink, value))


def _route_attributes(netlink: Any, route: Route) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "family": FAMILIES[version(route.destination)],
        "dst": route.destination,
        "oif": _index(netlink, route.link),
        "table": MAIN_TABLE,
        "proto": PROTOCOL,
    }
    if route.gateway:
        attributes["gateway"] = route.gateway
    elif version(route.destination) == 4:
        attributes["scope"] = 253  # link
    if route.source:
        attributes["prefsrc"] = route.source
    return attributes


def _index(netlink: Any, name: str) -> int:
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, f"there is no device {name}")
    return int(found[0])


def _number(error: Exception) -> int:
    return int(getattr(error, "code", 0) or getattr(error, "errno", 0) or 0)


def _named(key: str, error: Exception) -> OSError:
    text = error.args[1] if len(error.args) > 1 else str(error)
    return OSError(_number(error), f"{key}: {text}")


def checksum(name: str) -> bool | None:
    """Whether transmit checksums are left to the device; ``None`` if it does not say."""
    try:
        return bool(_ethtool(name, _GTXCSUM, 0))
    except OSError:
        return None


def set_checksum(name: str, on: bool) -> None:
    _ethtool(name, _STXCSUM, int(on))


def _ethtool(name: str, command: int, argument: int) -> int:
    """``ethtool_value`` by ioctl, see ethtool(8) ``-K tx``: a hundred times cheaper than the process."""
    value = ctypes.create_string_buffer(struct.pack("II", command, argument))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, struct.pack("16sP", name.encode(), ctypes.addressof(value)))
    return int(struct.unpack("II", value.raw[:8])[1])
