"""Notices of the kernel that somebody changed links, addresses, routes or our nftables table. They say *that*, not what:
whoever hears one looks for itself."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable

from ovnloom.agent.nft import TABLE

_NETFILTER = 12  # NETLINK_NETFILTER
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
# rtnetlink(7): RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE
_ROUTE_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NFTABLES_GROUP = 7  # NFNLGRP_NFTABLES
_OURS = TABLE.encode() + b"\0"


_LINK_MESSAGES = (16, 17)  # RTM_NEWLINK, RTM_DELLINK


class Notices:
    """Calls *network* and *firewall* in the event loop; *network* for links only if they are in *links* (empty: all are).

    Sockets belong to the namespace in which ``start`` is called.
    """

    def __init__(self, network: Callable[[], None], firewall: Callable[[], None]) -> None:
        self._network, self._firewall = network, firewall
        self.links: frozenset[str] = frozenset()
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        self._listen(socket.NETLINK_ROUTE, _ROUTE_GROUPS, 0, self._network, self._concerns_links)
        # every other table's changes come too (kube-proxy has many): those that do not name ours are not for us
        self._listen(_NETFILTER, 0, _NFTABLES_GROUP, self._firewall, lambda message: _OURS in message)

    def stop(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def _concerns_links(self, message: bytes) -> bool:
        if not self.links or int.from_bytes(message[4:6], sys.byteorder) not in _LINK_MESSAGES:
            return True
        return any(name.encode() + b"\0" in message for name in self.links)

    def _listen(self, protocol: int, groups: int, membership: int, callback: Callable[[], None], concerns: Callable[[bytes], bool]) -> None:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        sock.bind((0, groups))
        if membership:
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, membership)
        self._sockets.append(sock)
        asyncio.get_running_loop().add_reader(sock, _drain, sock, callback, concerns)


def _drain(sock: socket.socket, callback: Callable[[], None], concerns: Callable[[bytes], bool]) -> None:
    heard = False
    while True:
        try:
            heard = concerns(sock.recv(1 << 16)) or heard
        except BlockingIOError:
            break
        except OSError:  # ENOBUFS: notices were lost, so any may have been for us
            heard = True
    if heard:
        callback()
