"""start-db.sh as it runs in ovn-central, with real databases: one member, a Raft cluster of three, and what goes wrong there."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.packaging.box import Box, wait_for

pytestmark = pytest.mark.ovn

CERTIFICATES = """
mkdir -p /tmp/tls; cd /tmp/tls
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out cacert -days 9 -subj /CN=ca
openssl req -newkey rsa:2048 -nodes -keyout key -out request -subj /CN=ovn
openssl x509 -req -in request -CA cacert -CAkey ca.key -CAcreateserial -out cert -days 9
"""


@dataclass
class Members:
    """Members of ovn-central by number: member N has the address 127.0.0.N."""

    box: Box
    log: Path
    numbers: tuple[int, ...]
    tls: bool = False
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, number: int) -> dict[str, str]:
        return {
            "RUN_DIR": f"/tmp/run{number}",
            "DB_DIR": f"/tmp/db{number}",
            "POD_IP": f"127.0.0.{number}",
            "NODE_IPS": ",".join(f"127.0.0.{n}" for n in self.numbers),
            "ELECTION_TIMER": "1000",
            "ENABLE_SSL": "true" if self.tls else "false",
            "TLS_DIR": "/tmp/tls",
        }

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self.running[number] = self.box.start("start-db.sh", self.log, self.environment(number))

    def end(self, *numbers: int) -> None:
        for number in numbers:
            assert self.box.end(self.running.pop(number)) == 0

    def healthy(self, number: int, what: str = "ready") -> bool:
        return self.box.succeeds("bash", "/mnt/ovn-healthcheck.sh", what, **self.environment(number))

    def wait_ready(self, *numbers: int) -> None:
        for number in numbers:
            wait_for(lambda n=number: self.healthy(n))

    def nb(self, *words: str) -> str:
        protocol, keys = "tcp", []
        if self.tls:
            protocol, keys = "ssl", ["-p", "/tmp/tls/key", "-c", "/tmp/tls/cert", "-C", "/tmp/tls/cacert"]
        remotes = ",".join(f"{protocol}:127.0.0.{n}:6641" for n in self.numbers)
        return self.box.run("ovn-nbctl", "-t", "20", *keys, f"--db={remotes}", *words)

    def switches(self) -> list[str]:
        return re.findall(r"\((\w+)\)", self.nb("ls-list"))

    def ask(self, number: int, daemon: str, *words: str) -> str:
        return self.box.run("ovs-appctl", "-T", "5", "-t", f"/tmp/run{number}/{daemon}.ctl", *words)

    def servers(self, number: int) -> list[str]:
        """The addresses of the cluster's members, as member *number* knows them."""
        status = self.ask(number, "ovnnb_db", "cluster/status", "OVN_Northbound")
        return sorted(re.findall(r"\(\w+ at \w+:(127\.0\.0\.\d):6643\)", status))

    def leader(self) -> int:
        def found() -> int:
            leads = [n for n in self.running if "Role: leader" in self.ask(n, "ovnnb_db", "cluster/status", "OVN_Northbound")]
            return leads[0] if len(leads) == 1 else 0

        return int(wait_for(found))

    def kill(self, number: int, daemon: str) -> str:
        pid = self.box.run("cat", f"/tmp/run{number}/{daemon}.pid")
        self.box.run("kill", "-KILL", pid)
        return pid

    def started_again(self, number: int, daemon: str, old: str) -> str:
        return wait_for(lambda: (new := self.box.run("cat", f"/tmp/run{number}/{daemon}.pid")) != old and self.healthy(number) and new)


@pytest.fixture
def three(box: Box, tmp_path: Path) -> Members:
    members = Members(box, tmp_path / "log", (1, 2, 3), tls=True)
    box.shell(CERTIFICATES)
    return members


@pytest.fixture
def cluster(three: Members) -> Members:
    three.start(1, 2, 3)
    three.wait_ready(1, 2, 3)
    three.nb("ls-add", "one")
    return three


def test_one_member(box: Box, tmp_path: Path) -> None:
    members = Members(box, tmp_path / "log", (1,))
    members.start(1)
    members.wait_ready(1)
    wait_for(lambda: "use_logical_dp_groups" in members.nb("get", "NB_Global", ".", "options"))
    members.nb("ls-add", "one")
    members.nb("--wait=sb", "sync")  # northd works
    listening = box.run("ovsdb-client", "dump", "unix:/tmp/run1/ovnsb_db.sock", "Local_Config", "Connection", "target", "inactivity_probe")
    assert "ptcp:6642:127.0.0.1" in listening and " 60000" in f" {listening}".replace("\n", " ")
    assert "ptcp" in box.run("ovsdb-client", "dump", "unix:/tmp/run1/ovnnb_db.sock", "Local_Config", "Connection", "target")
    assert members.ask(1, "ovnnb_db", "ovsdb-server/list-dbs").split() == ["Local_Config", "OVN_Northbound", "_Server"]

    for daemon in ("ovn-northd", "ovnsb_db", "ovnnb_db"):  # each is started again alone
        others = [box.run("cat", f"/tmp/run1/{d}.pid") for d in ("ovn-northd", "ovnsb_db", "ovnnb_db") if d != daemon]
        members.started_again(1, daemon, members.kill(1, daemon))
        assert others == [box.run("cat", f"/tmp/run1/{d}.pid") for d in ("ovn-northd", "ovnsb_db", "ovnnb_db") if d != daemon]

    members.end(1)
    assert box.shell("pgrep -x 'ovsdb-server|ovn-northd'", check=False) == ""
    assert not members.healthy(1, "live")
    members.start(1)
    members.wait_ready(1)
    assert members.switches() == ["one"]


def test_three_members_in_any_order(three: Members) -> None:
    three.start(2, 3)  # they wait for the first, and it must not take them for a cluster
    wait_for(lambda: three.healthy(2, "live") and three.healthy(3, "live"))
    assert not three.healthy(2)
    three.start(1)
    three.wait_ready(1, 2, 3)
    assert [three.servers(n) for n in (1, 2, 3)] == [["127.0.0.1", "127.0.0.2", "127.0.0.3"]] * 3
    states = [three.ask(n, "ovn-northd", "status") for n in (1, 2, 3)]
    assert sorted(states) == ["Status: active", "Status: standby", "Status: standby"]


def test_the_leader_ends(cluster: Members) -> None:
    first = cluster.leader()
    cluster.end(first)
    cluster.nb("ls-add", "two")
    assert cluster.leader() != first
    cluster.start(first)
    cluster.wait_ready(first)
    assert sorted(cluster.switches()) == ["one", "two"]


@pytest.mark.parametrize("number", [1, 2])  # the first would create a cluster, were there none
@pytest.mark.parametrize(
    "damage",
    [
        "rm /tmp/db{n}/ovnnb_db.db",
        "truncate -s 0 /tmp/db{n}/ovnnb_db.db",
        "dd if=/dev/zero of=/tmp/db{n}/ovnnb_db.db bs=512 count=1 conv=notrunc",
    ],
    ids=["lost", "empty", "damaged"],
)
def test_a_member_without_its_file_joins_again(cluster: Members, number: int, damage: str) -> None:
    cluster.end(number)
    cluster.box.shell(damage.format(n=number))
    cluster.start(number)
    cluster.wait_ready(number)
    # its former identity does not count towards the majority any more
    wait_for(lambda: cluster.servers(number) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    assert cluster.switches() == ["one"]
    kept = cluster.box.shell(f"ls /tmp/db{number}")
    assert ("backup" in kept) is (not damage.startswith("rm"))


def test_the_first_does_not_create_a_cluster_beside_one_without_leader(cluster: Members) -> None:
    cluster.end(1, 3)
    wait_for(lambda: not cluster.healthy(2))  # it notices after an election timer
    cluster.box.run("rm", "/tmp/db1/ovnnb_db.db")
    cluster.start(1)
    wait_for(lambda: "a cluster without a leader; waiting" in cluster.log.read_text())
    assert not cluster.box.succeeds("test", "-e", "/tmp/db1/ovnnb_db.db")
    cluster.start(3)  # 2 and 3 are a majority again
    cluster.wait_ready(1, 2, 3)
    assert cluster.switches() == ["one"]


def test_from_one_member_to_three_and_back(box: Box, tmp_path: Path) -> None:
    members = Members(box, tmp_path / "log", (2,))
    members.start(2)
    members.wait_ready(2)
    members.nb("ls-add", "one")
    members.end(2)
    members.numbers = (2, 1, 3)
    members.start(1, 2, 3)
    members.wait_ready(1, 2, 3)
    assert members.switches() == ["one"]
    members.end(1, 2, 3)
    members.numbers = (2,)
    members.start(2)
    members.wait_ready(2)
    assert members.switches() == ["one"]


def test_what_is_missing_is_named(box: Box, tmp_path: Path) -> None:
    stranger = Members(box, tmp_path / "log", (1, 2, 3))
    stranger.start(4)
    assert stranger.running[4].wait(20) == 1
    assert "127.0.0.4 is not in NODE_IPS=127.0.0.1,127.0.0.2,127.0.0.3" in stranger.log.read_text()
    without_keys = Members(box, tmp_path / "keys", (1,), tls=True)
    without_keys.start(1)
    assert without_keys.running[1].wait(20) == 1
    assert "/tmp/tls/key cannot be read: is the Secret kube-ovn-tls there" in without_keys.log.read_text()
