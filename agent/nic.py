"""A pod's network card: a veth pair, one end on the node for the switch, the other in the pod. Blocking, like ``kernel``."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ovnloom.agent import kernel

_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Nic:
    """*host* is the node's end, *name* the pod's. *addresses* have prefix lengths. *gateways* are those of the default routes, one
    per family at most."""

    host: str
    name: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu: int
    checksum: bool = False


def host_end(container: str, interface: str) -> str:
    """The name of the node's end: Kube-OVN's, at most 15 characters.

    An interface name of more than 7 characters leaves too little of the container's id to tell pods apart: it is hashed.
    """
    if interface == "eth0":
        return f"{container[:12]}_h"
    short = interface if len(interface) <= 7 else hashlib.sha256(interface.encode()).hexdigest()[:5]
    return f"{container[: 12 - len(short)]}_{short}_h"


def create(nic: Nic, namespace: int) -> None:
    """Makes the pair, the pod's end at once in *namespace* (a file descriptor) under its final name, and the node's end up."""
    with IPRoute() as netlink:
        delete(nic.host)
        peer = {"ifname": nic.name, "net_ns_fd": namespace, "address": nic.mac, "mtu": nic.mtu}
        try:
            netlink.link("add", ifname=nic.host, kind="veth", mtu=nic.mtu, peer=peer)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                raise OSError(errno.EEXIST, f"the pod has a device {nic.name} already") from error
            raise OSError(error.code, f"veth {nic.host}: {error.args[1]}") from error
        # The node must not speak on the pod's port: its neighbour discovery would come from a foreign MAC.
        with suppress(FileNotFoundError):
            kernel.write_sysctl(f"net/ipv6/conf/{nic.host}/disable_ipv6", "1")
        kernel.set_checksum(nic.host, nic.checksum)
        netlink.link("set", index=netlink.link_lookup(ifname=nic.host)[0], state="up")


def configure(nic: Nic) -> None:
    """The pod's end; runs in the pod's namespace."""
    if any(kernel.version(address) == 6 for address in nic.addresses):
        for scope in ("all", "default", nic.name):
            with suppress(FileNotFoundError):
                kernel.write_sysctl(f"net/ipv6/conf/{scope}/disable_ipv6", "0")
    kernel.set_checksum(nic.name, nic.checksum)
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=nic.name)[0]
        for spelled in nic.addresses:
            address, _, prefix = spelled.partition("/")
            flags = {"flags": kernel.NODAD} if kernel.version(address) == 6 else {}
            with _named(f"address {spelled} of {nic.name}"):
                netlink.addr("add", index=index, address=address, prefixlen=int(prefix), **flags)
        with _named(f"{nic.name} up"):
            netlink.link("set", index=index, state="up")
        for gateway in nic.gateways:
            number = kernel.version(gateway)
            with _named(f"default route via {gateway} of {nic.name}"):
                netlink.route("add", family=kernel.FAMILIES[number], dst=_DEFAULT[number], gateway=gateway, oif=index)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """The kernel's refusals name a number only."""
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, f"{what} in the pod: {error.args[1]}") from error


def delete(host: str) -> bool:
    """Takes the pair away, both ends. ``False`` if there was none."""
    with IPRoute() as netlink:
        found = netlink.link_lookup(ifname=host)
        if not found:
            return False
        try:
            netlink.link("del", index=found[0])
        except NetlinkError as error:
            if error.code != errno.ENODEV:  # the pod's namespace went, and the pair with it, a moment ago
                raise OSError(error.code, f"veth {host}: {error.args[1]}") from error
        return True


def faults(nic: Nic) -> list[str]:
    """What the pod's end lacks, a sentence each; runs in the pod's namespace. *mtu* and *gateways* that are empty are not looked at."""
    with IPRoute() as netlink:
        found = netlink.link_lookup(ifname=nic.name)
        if not found:
            return [f"the pod has no device {nic.name}"]
        link = netlink.get_links(found[0])[0]
        return list(_faults(nic, link, netlink, found[0]))


def _faults(nic: Nic, link: Any, netlink: Any, index: int) -> Iterable[str]:
    if not link["flags"] & 1:
        yield f"{nic.name} is down"
    if nic.mac and link.get("IFLA_ADDRESS") != nic.mac:
        yield f"{nic.name} has MAC {link.get('IFLA_ADDRESS')}, not {nic.mac}"
    if nic.mtu and link.get("IFLA_MTU") != nic.mtu:
        yield f"{nic.name} has MTU {link.get('IFLA_MTU')}, not {nic.mtu}"
    held = {f"{m.get('IFA_LOCAL') or m.get('IFA_ADDRESS')}/{m['prefixlen']}" for m in netlink.get_addr(index=index)}
    yield from (f"{nic.name} has lost the address {address}" for address in nic.addresses if address not in held)
    for gateway in nic.gateways:
        family = kernel.FAMILIES[kernel.version(gateway)]
        routes = netlink.get_routes(family=family, table=kernel.MAIN_TABLE)
        if not any(m["dst_len"] == 0 and m.get("RTA_GATEWAY") == gateway and m.get("RTA_OIF") == index for m in routes):
            yield f"{nic.name} has lost the default route via {gateway}"
