"""start-ovs.sh as it runs in ovs-ovn, with the userspace datapath and a real southbound database."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.box import Box, wait_for

pytestmark = [pytest.mark.ovn, pytest.mark.node]

CENTRAL = {"RUN_DIR": "/tmp/run", "DB_DIR": "/tmp/db", "POD_IP": "127.0.0.1", "NODE_IPS": "127.0.0.1"}
NODE = {"NODE_NAME": "n1", "NODE_IPS": "127.0.0.1", "POD_IPS": "192.0.2.1", "DATAPATH_TYPE": "netdev", "IFACE": "tun[0-9]+"}
NIC = """
ip link add eth0 type veth peer name eth0-peer; ip link set eth0 up; ip link set eth0-peer up; ip address add 192.0.2.1/24 dev eth0
ip route add default via 192.0.2.254
ip link add tun0 type veth peer name tun0-peer; ip link set tun0 up; ip link set tun0-peer up
ip address add 198.51.100.1/24 dev tun0; ip address add 2001:db8::1/64 dev tun0 nodad; ip route add 203.0.113.0/24 via 198.51.100.254
"""


@dataclass
class Node:
    box: Box
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self, **env: str) -> None:
        self.running = self.box.start("start-ovs.sh", self.log, {**NODE, **env})

    def end(self) -> None:
        assert self.running
        assert self.box.end(self.running) == 0

    def refuses(self, **env: str) -> str:
        """What it says before it ends."""
        self.start(**env)
        assert self.running and self.running.wait(20) == 1
        return self.log.read_text()

    def healthy(self) -> bool:
        return self.box.succeeds("bash", "/mnt/ovs-healthcheck.sh", "ready")

    def wait_ready(self) -> None:
        wait_for(self.healthy)

    def vsctl(self, *words: str) -> str:
        return self.box.run("ovs-vsctl", "-t", "10", *words).replace('"', "")

    def pid(self, daemon: str) -> str:
        folder = "ovn" if daemon == "ovn-controller" else "openvswitch"
        return self.box.run("cat", f"/run/{folder}/{daemon}.pid", check=False)

    def addresses(self, link: str) -> list[str]:
        lines = self.box.shell(f"ip -o address show dev {link} scope global").splitlines()
        return sorted(line.split()[3] for line in lines)


@pytest.fixture
def node(box: Box, tmp_path: Path) -> Iterator[Node]:
    if not box.succeeds("test", "-c", "/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    box.shell(NIC)
    yield Node(box, tmp_path / "log")


@pytest.fixture
def registered(node: Node, tmp_path: Path) -> Node:
    """A node whose chassis is in the southbound database."""
    node.box.start("start-db.sh", tmp_path / "central", CENTRAL)
    node.start()
    node.wait_ready()
    wait_for(lambda: node.box.run("ovn-sbctl", "--db=tcp:127.0.0.1:6642", "--bare", "--columns=hostname", "list", "Chassis", check=False))
    return node


def test_a_node_registers(registered: Node) -> None:
    ids = registered.vsctl("get", "Open_vSwitch", ".", "external_ids")
    for part in ("hostname=n1", "ovn-remote=tcp:127.0.0.1:6642", "ovn-encap-ip=198.51.100.1", "ovn-bridge-datapath-type=netdev"):
        assert part in ids
    encap = registered.box.run("ovn-sbctl", "--db=tcp:127.0.0.1:6642", "--bare", "--columns=ip,type", "list", "Encap").split()
    assert encap == ["198.51.100.1", "geneve"]


def test_the_bridge_takes_over_the_nic(registered: Node) -> None:
    wait_for(lambda: registered.addresses("br-phy") == ["198.51.100.1/24", "2001:db8::1/64"])
    assert registered.addresses("tun0") == []
    assert registered.vsctl("list-ports", "br-phy") == "tun0"
    wait_for(lambda: "198.51.100.254 dev br-phy" in registered.box.shell("ip route show 203.0.113.0/24").replace("via ", ""))
    assert registered.addresses("eth0") == ["192.0.2.1/24"]  # the management path is left alone


@pytest.mark.parametrize("daemon", ["ovs-vswitchd", "ovsdb-server", "ovn-controller"])
def test_a_dead_daemon_is_started_again(registered: Node, daemon: str) -> None:
    other = "ovsdb-server" if daemon == "ovs-vswitchd" else "ovs-vswitchd"
    old, others, controller = registered.pid(daemon), registered.pid(other), registered.pid("ovn-controller")
    registered.box.run("kill", "-KILL", old)
    wait_for(lambda: registered.pid(daemon) not in ("", old) and registered.healthy())
    assert registered.pid(other) == others
    if daemon == "ovs-vswitchd":  # or it would wait out its back-off while the new switch has no flows
        wait_for(lambda: registered.pid("ovn-controller") not in ("", controller))
    wait_for(lambda: registered.addresses("br-phy") == ["198.51.100.1/24", "2001:db8::1/64"])


def test_the_next_pod_takes_over(registered: Node) -> None:
    before = registered.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id")
    registered.vsctl("--", "add-port", "br-int", "ovn0", "--", "set", "Interface", "ovn0", "type=internal")
    registered.end()
    assert registered.box.shell("pgrep -x 'ovs-vswitchd|ovn-controller'", check=False) == ""
    chassis = registered.box.run("ovn-sbctl", "--db=tcp:127.0.0.1:6642", "--bare", "--columns=name", "list", "Chassis")
    assert chassis == before  # other nodes keep their tunnels to this one
    registered.box.shell("ip link del br-phy", check=False)  # what a reboot would do
    registered.start()
    registered.wait_ready()
    assert registered.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id") == before
    assert registered.vsctl("list-ports", "br-int").split() == ["ovn0"]
    wait_for(lambda: registered.addresses("br-phy") == ["198.51.100.1/24", "2001:db8::1/64"])
    assert "ovn-encap-ip=198.51.100.1" in registered.vsctl("get", "Open_vSwitch", ".", "external_ids")


def test_what_is_wrong_is_named(node: Node) -> None:
    assert "needs IFACE: a NIC of its own" in node.refuses(IFACE="")
    assert "no NIC matches IFACE=wlan0; there are: " in node.refuses(IFACE="wlan0")
    assert "the default route leaves by eth0" in node.refuses(IFACE="eth0")
    assert "DATAPATH_TYPE is dpdk; valid are system, netdev" in node.refuses(DATAPATH_TYPE="dpdk")
    node.box.shell("ip address flush dev tun0")
    assert "tun0 has no address for the tunnels" in node.refuses()
    if not Path("/sys/module/openvswitch").exists():
        assert "this kernel has no openvswitch module" in node.refuses(DATAPATH_TYPE="system")
