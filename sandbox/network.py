"""The wires: namespace `lan` with two switches and the gateway, namespace `out` for a host of the outside, two NICs per node.

eth0 is management (1500 bytes): node address, default route, kubelet, API. eth1 is the tunnel's (1600, so that pods get 1500).
Nothing is made in the host's own namespace. Transmit checksums are off on every wire: a userspace datapath sends what it gets.
"""

from __future__ import annotations

from ovnloom.sandbox.command import run
from ovnloom.sandbox.plan import GATEWAY, OUTSIDE, Plan, management, management6, number_of, tunnel

MTU = {"mgmt": 1500, "tun": 1600}
NIC = {"mgmt": "eth0", "tun": "eth1"}
LENGTH, LENGTH6 = 24, 64


def ip(space: str, *lines: str) -> None:
    """Runs *lines* of iproute2 in the namespace *space*, as one batch. Raises ``CommandFailed`` at the first that fails."""
    run(["ip", "-n", space, "-batch", "-"], stdin="\n".join(lines) + "\n")


def checksum_off(space: str, *devices: str) -> None:
    for device in devices:
        run(["ip", "netns", "exec", space, "ethtool", "-K", device, "tx", "off"])


def address_lines(plan: Plan, device: str, host: int) -> list[str]:
    """The management addresses of *host* on *device*. The bed has no second router, so nobody else can have them: no DAD."""
    lines = [f"addr add {management(host)}/{LENGTH} dev {device}"]
    if plan.dual:
        lines.append(f"addr add {management6(host)}/{LENGTH6} dev {device} nodad")
    return lines


def make_lan(plan: Plan) -> None:
    lan, out = plan.space("lan"), plan.space("out")
    for space in (lan, out):
        run(["ip", "netns", "add", space])
        ip(space, "link set lo up")
    for switch in MTU:
        ip(lan, f"link add {switch} mtu {max(MTU.values())} type bridge mcast_snooping 0", f"link set {switch} up")
    ip(lan, *address_lines(plan, "mgmt", GATEWAY), f"link add out mtu {MTU['mgmt']} type veth peer name eth0 netns {out}")
    ip(lan, "link set out master mgmt up")
    ip(out, "link set eth0 up", *address_lines(plan, "eth0", OUTSIDE))
    checksum_off(lan, *MTU, "out")
    checksum_off(out, "eth0")


def make_nics(plan: Plan, node: str) -> None:
    """The node's namespace and its two NICs."""
    space, lan, number = plan.space(node), plan.space("lan"), number_of(node)
    run(["ip", "netns", "add", space])
    run(["ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    ip(space, "link set lo up")
    for switch, nic in NIC.items():
        peer, mtu = f"{node}-{switch}", MTU[switch]
        ip(space, f"link add {nic} mtu {mtu} type veth peer name {peer} mtu {mtu} netns {lan}")
        ip(lan, f"link set {peer} master {switch} up")
        checksum_off(lan, peer)
        checksum_off(space, nic)
    ip(space, "link set eth0 up", "link set eth1 up", *address_lines(plan, "eth0", number), f"addr add {tunnel(number)}/{LENGTH} dev eth1")
    ip(space, f"route add default via {management(GATEWAY)}")
    if plan.dual:
        run(["ip", "-n", space, "-6", "route", "add", "default", "via", management6(GATEWAY)])
