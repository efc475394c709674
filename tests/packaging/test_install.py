"""The chart on a real API server: it is accepted, an upgrade keeps the certificates, and each account may do its own work only."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.apiserver import ApiServer, binary
from tests.packaging.chart import CHART, helm

NODES = {"n1": "10.0.0.1", "n2": "10.0.0.2"}
SYSTEM = "/api/v1/namespaces/kube-system"
MERGE = "application/merge-patch+json"


class Cluster(ApiServer):
    """Two nodes without kubelets; privileged pods are allowed, as kubeadm does."""

    def _kube_apiserver(self) -> list[str]:
        return [*super()._kube_apiserver(), "--allow-privileged=true"]

    def helm(self, *words: str, check: bool = True) -> str:
        home = {f"HELM_{kind}_HOME": str(self.home / "helm") for kind in ("CACHE", "CONFIG", "DATA")}
        argv = [helm(), "--kubeconfig", str(self.kubeconfig), "-n", "kube-system", *words]
        done = subprocess.run(argv, capture_output=True, text=True, env=home, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def add_nodes(self) -> None:
        for name, address in NODES.items():
            self.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
            self.request("PATCH", f"/api/v1/nodes/{name}/status", status, content_type=MERGE)

    def get(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self.request("GET", path)))

    def pod(self, name: str, account: str, node: str) -> str:
        """Makes a pod; the token that it would have."""
        spec = {"nodeName": node, "serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}
        pod = json.loads(self.request("POST", f"{SYSTEM}/pods", {"metadata": {"name": name}, "spec": spec}))
        bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": pod["metadata"]["uid"]}
        answer = self.request("POST", f"{SYSTEM}/serviceaccounts/{account}/token", {"spec": {"boundObjectRef": bound}})
        return str(json.loads(answer)["status"]["token"])

    def attempt(self, token: str, verb: str, path: str, body: Any = None) -> str:
        """ "" when *token* may, else what the API server says."""
        ask = urllib.request.Request(self.url + path, method=verb, data=json.dumps(body).encode() if body is not None else None)
        ask.add_header("Authorization", f"Bearer {token}")
        ask.add_header("Content-Type", MERGE if verb == "PATCH" else "application/json")
        try:
            urllib.request.urlopen(ask, context=ssl.create_default_context(cafile=str(self.home / "apiserver.crt")), timeout=30).close()
        except urllib.error.HTTPError as error:
            return str(json.load(error)["message"])
        return ""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    etcd, server = binary("etcd"), binary("kube-apiserver")
    if etcd is None or server is None:
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)("not found: etcd or kube-apiserver (set OVNLOOM_BIN)")
    with tempfile.TemporaryDirectory() as home:
        made = Cluster(Path(home), etcd, server)
        try:
            made.up()
            made.add_nodes()
            yield made
        finally:
            made.down()


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Cluster:
    assert "no node carries the label kube-ovn/role=master" in cluster.helm("install", "ovnloom", str(CHART), check=False)
    cluster.request("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"kube-ovn/role": "master"}}}, content_type=MERGE)
    cluster.helm("install", "ovnloom", str(CHART))
    return cluster


def test_members_are_the_labelled_nodes(installed: Cluster) -> None:
    spec = installed.get("/apis/apps/v1/namespaces/kube-system/deployments/ovn-central")["spec"]
    environment = {e["name"]: e.get("value") for e in spec["template"]["spec"]["containers"][0]["env"]}
    assert (spec["replicas"], environment["NODE_IPS"]) == (1, "10.0.0.1")


def test_an_upgrade_keeps_the_certificates(installed: Cluster) -> None:
    before = installed.get(f"{SYSTEM}/secrets/kube-ovn-tls")["data"]
    installed.helm("upgrade", "ovnloom", str(CHART))
    assert installed.get(f"{SYSTEM}/secrets/kube-ovn-tls")["data"] == before
    assert sorted(before) == ["cacert", "cert", "key"]


def test_crds_serve_what_kube_ovn_users_write(installed: Cluster) -> None:
    spec = {"cidrBlock": "10.66.0.0/16", "excludeIps": ["10.66.0.1..10.66.0.9"], "gatewayType": "distributed", "natOutgoing": True}
    spec |= {"namespaceSelectors": [{"matchLabels": {"a": "b"}}]}
    spec |= {"acls": [{"action": "drop", "priority": 1, "match": "ip", "direction": "to-lport"}]}
    subnet = {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "s"}, "spec": spec}
    installed.request("POST", "/apis/kubeovn.io/v1/subnets", subnet)
    assert installed.get("/apis/kubeovn.io/v1/subnets/s")["spec"] == spec  # nothing was pruned
    status = {"status": {"v4availableIPs": 65525, "v6availableIPs": 2**64, "conditions": [{"type": "Ready", "status": "True"}]}}
    installed.request("PATCH", "/apis/kubeovn.io/v1/subnets/s/status", status, content_type=MERGE)
    assert installed.get("/apis/kubeovn.io/v1/subnets/s")["status"]["v4availableIPs"] == 65525
    with pytest.raises(urllib.error.HTTPError, match="422"):
        installed.request("PATCH", "/apis/kubeovn.io/v1/subnets/s", {"spec": {"natOutgoing": "yes"}}, content_type=MERGE)


def test_an_agent_changes_its_own_node_only(installed: Cluster) -> None:
    token = installed.pod("agent1", "kube-ovn-cni", "n1")
    annotate = {"metadata": {"annotations": {"ovn.kubernetes.io/chassis": "x"}}}
    until = time.monotonic() + 20
    while not installed.attempt(token, "PATCH", "/api/v1/nodes/n2", annotate):  # policies are in force a moment after they are made
        assert time.monotonic() < until, "an agent changed another node"
    say = {
        "other node": installed.attempt(token, "PATCH", "/api/v1/nodes/n2", annotate),
        "spec": installed.attempt(token, "PATCH", "/api/v1/nodes/n1", {"spec": {"unschedulable": True}}),
        "label": installed.attempt(token, "PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"zone": "a"}}}),
        "no label": installed.attempt(token, "PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"kube-ovn/role": None}}}),
        "status": installed.attempt(token, "PATCH", "/api/v1/nodes/n1/status", {"status": {"phase": "x"}}),
    }
    assert "an agent may change only the Node it runs on, not n2" in say["other node"]
    assert "annotations and labels of its Node, nothing else" in say["spec"]
    assert "only labels of ovn.kubernetes.io" in say["label"] and "only labels of ovn.kubernetes.io" in say["no label"]
    assert 'cannot patch resource "nodes/status"' in say["status"]
    assert installed.attempt(token, "PATCH", "/api/v1/nodes/n1", annotate) == ""
    assert installed.attempt(token, "PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"ovn.kubernetes.io/mtu": "1400"}}}) == ""


def test_an_agent_reads_no_secrets_and_writes_no_pods(installed: Cluster) -> None:
    token = installed.pod("agent2", "kube-ovn-cni", "n2")
    assert "cannot list" in installed.attempt(token, "GET", "/api/v1/secrets")
    assert "cannot patch" in installed.attempt(token, "PATCH", f"{SYSTEM}/pods/agent2", {"metadata": {"annotations": {"a": "b"}}})
    assert installed.attempt(token, "GET", "/api/v1/pods?limit=1") == ""


def test_ovn_central_labels_its_own_pod_only(installed: Cluster) -> None:
    token = installed.pod("central1", "ovn-ovs", "n1")
    installed.pod("central2", "ovn-ovs", "n2")
    label = {"metadata": {"labels": {"ovn-nb-leader": "true"}}}
    until = time.monotonic() + 20
    while not (said := installed.attempt(token, "PATCH", f"{SYSTEM}/pods/central2", label)):
        assert time.monotonic() < until, "an ovn-central labelled another pod"
    assert "ovn-central may label only its own Pod, not central2" in said
    image = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    assert "may change only labels of its Pod" in installed.attempt(token, "PATCH", f"{SYSTEM}/pods/central1", image)
    assert installed.attempt(token, "PATCH", f"{SYSTEM}/pods/central1", label) == ""


def test_the_controller_has_the_lease_and_nothing_of_others(installed: Cluster) -> None:
    token = installed.pod("controller1", "ovn", "n1")
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    for name in ("kube-ovn-controller", "other"):
        installed.request("POST", leases, {"metadata": {"name": name}})
    assert installed.attempt(token, "PATCH", f"{leases}/kube-ovn-controller", {"spec": {"holderIdentity": "a"}}) == ""
    assert installed.attempt(token, "GET", f"{leases}?fieldSelector=metadata.name%3Dkube-ovn-controller") == ""
    assert "cannot patch" in installed.attempt(token, "PATCH", f"{leases}/other", {"spec": {"holderIdentity": "a"}})
    assert "cannot create" in installed.attempt(token, "POST", f"{SYSTEM}/pods", {"metadata": {"name": "x"}})


def test_uninstall_keeps_crds_and_installs_again(installed: Cluster) -> None:
    installed.helm("uninstall", "ovnloom", "--no-hooks")
    assert installed.get("/apis/kubeovn.io/v1/subnets")["kind"] == "SubnetList"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        installed.get("/apis/apps/v1/namespaces/kube-system/deployments/ovn-central")
    installed.helm("install", "ovnloom", str(CHART))
    assert installed.get("/apis/apps/v1/namespaces/kube-system/daemonsets/ovs-ovn")["spec"]["updateStrategy"] == {"type": "OnDelete"}
