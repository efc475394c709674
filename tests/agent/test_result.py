"""Answers in each version of the CNI specification."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ovnloom.agent import conflist
from ovnloom.agent.nic import Nic, host_end
from ovnloom.agent.request import VERSIONS
from ovnloom.agent.result import added

CARD = Nic("abc_h", "eth0", "0a:00:00:00:00:01", ("10.16.0.2/16", "fd00::2/112"), ("10.16.0.1", "fd00::1"), 1400)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_gets_its_own_shape(version: str) -> None:
    answer = json.loads(added(CARD, "/run/netns/x", version))
    assert answer["cniVersion"] == version
    assert answer["ips"][0]["address"] == "10.16.0.2/16" and answer["ips"][0]["gateway"] == "10.16.0.1"
    assert [ip.get("version") for ip in answer["ips"]] == (["4", "6"] if version < "1" else [None, None])
    assert answer["interfaces"][0].get("mtu") == (1400 if version == "1.1.0" else None)
    assert answer["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.16.0.1"}, {"dst": "::/0", "gw": "fd00::1"}]


@pytest.mark.parametrize(
    ("container", "interface", "name"),
    [("0123456789abcdef", "eth0", "0123456789ab_h"), ("0123456789abcdef", "net1", "01234567_net1_h"), ("short", "eth0", "short_h")],
)
def test_the_nodes_end_is_named_as_kube_ovn_names_it(container: str, interface: str, name: str) -> None:
    assert host_end(container, interface) == name


def test_long_interface_names_stay_apart_and_short_enough() -> None:
    names = {host_end("0123456789abcdef", f"averylongname{n}") for n in range(9)}
    assert len(names) == 9 and all(len(name) <= 15 for name in names)


def test_the_list_is_written_once(tmp_path: Path) -> None:
    assert conflist.write(tmp_path, "/run/x.sock")
    assert not conflist.write(tmp_path, "/run/x.sock")
    assert conflist.write(tmp_path, "/run/y.sock")
    assert [path.name for path in tmp_path.iterdir()] == ["01-kube-ovn.conflist"]
    plugins = json.loads((tmp_path / conflist.FILE).read_text())["plugins"]
    assert [p["type"] for p in plugins] == ["kube-ovn", "portmap"] and plugins[0]["server_socket"] == "/run/y.sock"
