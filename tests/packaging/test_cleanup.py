"""What is left of the product after `helm uninstall`: nothing on a node, and the hook waits until that is so."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ovnloom.core.kube.client import ApiError, Client
from tests.functional.apiserver import ApiServer, apiserver
from tests.packaging.box import SCRIPTS, wait_for
from tests.packaging.chart import find, render
from tests.packaging.test_start_ovs import Node, node

__all__ = ["apiserver", "node"]

MERGE = "application/merge-patch+json"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOST = """
mkdir -p /tmp/host/cni-conf /tmp/host/cni-bin /tmp/host/ovn; touch /tmp/host/cni-conf/01-kube-ovn.conflist /tmp/host/cni-conf/10-other.conf
touch /tmp/host/cni-bin/kube-ovn /tmp/host/cni-bin/portmap /tmp/host/ovn/ovnnb_db.db
ln -s /etc/openvswitch /tmp/host/openvswitch; ln -s /run/openvswitch /tmp/host/run-openvswitch; ln -s /run/ovn /tmp/host/run-ovn
nft add table inet ovnloom; nft add table inet other
sed 's#^HOST = .*#HOST = Path("/tmp/host")#' /mnt/cleanup-node.py > /tmp/cleanup.py
"""


@pytest.mark.ovn
@pytest.mark.node
def test_a_node_is_as_before(node: Node) -> None:
    box = node.box
    links = box.shell("ls /sys/class/net")
    before = [node.addresses("tun0"), box.shell("ip route show 203.0.113.0/24")]
    node.start()
    node.wait_ready()
    wait_for(lambda: node.addresses("br-phy") and box.shell("ip route show 203.0.113.0/24") != before[1])
    node.vsctl("--", "add-port", "br-int", "ovn0", "--", "set", "Interface", "ovn0", "type=internal")
    box.shell(HOST)
    node.end()
    assert box.shell("python3 /tmp/cleanup.py").splitlines()[-1] == "clean"
    assert box.shell("ls /sys/class/net") == links
    assert [node.addresses("tun0"), box.shell("ip route show 203.0.113.0/24")] == before
    left = sorted(box.shell("find -L /tmp/host -type f -o -type s").split())
    assert left == ["/tmp/host/cni-bin/portmap", "/tmp/host/cni-conf/10-other.conf"]
    assert box.shell("nft list tables") == "table inet other"
    assert box.shell("python3 /tmp/cleanup.py").splitlines()[-1] == "clean"  # and once more


@pytest.mark.ovn
@pytest.mark.node
def test_running_daemons_are_waited_for(node: Node) -> None:
    node.start()
    node.wait_ready()
    node.box.shell(HOST + "sed -i 's/^PATIENCE = .*/PATIENCE = 1.0/' /tmp/cleanup.py")
    said = node.box.shell("python3 /tmp/cleanup.py 2>&1", check=False)
    assert "still running after 1 s: ovn-controller, ovs-vswitchd, ovsdb-server" in said
    assert node.healthy()
    assert not node.box.succeeds("test", "-e", "/tmp/host/cni-conf/01-kube-ovn.conflist")


async def test_the_hook_waits_for_every_node(apiserver: ApiServer) -> None:
    namespace = apiserver.namespace("cleanup")
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets"
    daemon_set = find(render(), "DaemonSet", "ovnloom-cleanup")
    template = daemon_set["spec"]["template"]["spec"]
    del template["initContainers"]  # privileged pods are not allowed on this API server; the status is what counts
    apiserver.request("POST", path, {**daemon_set, "metadata": {"name": "c", "namespace": namespace}})

    def status(**fields: int) -> None:
        whole = {"currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2, "observedGeneration": 1, **fields}
        apiserver.request("PATCH", f"{path}/c/status", {"status": whole}, content_type=MERGE)

    waiting = script("await-cleanup")
    async with Client.load(str(apiserver.kubeconfig)) as client:
        task = asyncio.create_task(waiting.ready(client, namespace, "c"))
        await asyncio.sleep(1.5)
        status(numberReady=1)
        await asyncio.sleep(1.5)
        assert not task.done()
        status(numberReady=2)
        await asyncio.wait_for(task, 10)
        with pytest.raises(ApiError, match="not found"):
            await waiting.ready(client, namespace, "other")


def test_hooks_come_in_order_and_go() -> None:
    hooks = [m for m in render() if "helm.sh/hook" in m["metadata"].get("annotations", {})]
    assert {m["metadata"]["annotations"]["helm.sh/hook"] for m in hooks} == {"post-delete"}
    assert {m["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for m in hooks} == {"before-hook-creation,hook-succeeded"}
    order = sorted(hooks, key=lambda m: int(m["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert [m["kind"] for m in order] == ["ServiceAccount", "Role", "RoleBinding", "DaemonSet", "Job"]
    assert not [m for m in render(cleanup={"enabled": False}) if m["metadata"]["name"] == "ovnloom-cleanup"]


def test_processes_are_known_by_their_names(tmp_path: Path) -> None:
    for number, name in (("1", "bash"), ("22", "ovs-vswitchd"), ("self", "python3")):
        (tmp_path / number).mkdir()
        (tmp_path / number / "comm").write_text(name + "\n")
    assert script("cleanup-node").names_of_processes(tmp_path) == {"bash", "ovs-vswitchd"}
