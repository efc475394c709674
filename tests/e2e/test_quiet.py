"""What the controller sends: nothing when nothing changed, two writes for a pod, one for its end.

The API server counts by flow schema: one of ours matches the controller's writes, but its Lease and reviews. The northbound
server logs each request while asked to; those of the controller carry the condition that it holds its lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.cluster import SYSTEM, Cluster, Json, pod_spec
from tests.e2e.test_restart import replace_pods

WRITES, LEASES = "e2e-controller-writes", "e2e-controller-leases"
CONTROLLER = "kube-ovn-controller"
NB_CONTROL = "/run/ovn/ovnnb_db.ctl"
TRANSACTION = re.compile(r'method="transact".*"lock":"ovnloom"|"lock":"ovnloom".*method="transact"')


@dataclass(frozen=True, slots=True)
class Sent:
    """Counts since the cluster was made."""

    api_writes: int
    leases: int
    transactions: int

    def since(self, before: Sent) -> Sent:
        return Sent(self.api_writes - before.api_writes, self.leases - before.leases, self.transactions - before.transactions)


def schema(name: str, precedence: int, rule: Json) -> Json:
    account = {"kind": "ServiceAccount", "serviceAccount": {"name": "ovn", "namespace": SYSTEM}}
    everywhere = {"clusterScope": True, "namespaces": ["*"], "resources": ["*"]}
    rules = [{"subjects": [account], "resourceRules": [everywhere | rule]}]
    spec = {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "workload-high"}, "rules": rules}
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def counted(cluster: Cluster) -> Iterator[None]:
    """Requests of the controller are counted while this lives."""
    cluster.delete("flowschema", WRITES, LEASES)
    cluster.create(
        schema(LEASES, 50, {"verbs": ["*"], "apiGroups": ["coordination.k8s.io", "authorization.k8s.io"]}),
        schema(WRITES, 51, {"verbs": ["create", "update", "patch", "delete", "deletecollection"], "apiGroups": ["*"]}),
    )
    cluster.eventually(lambda: dispatched(cluster, LEASES) > 0, "count of the renewals of the Lease")
    control(cluster, "vlog/set", "jsonrpc:console:dbg")
    yield
    control(cluster, "vlog/set", "jsonrpc:console:info")
    cluster.delete("flowschema", WRITES, LEASES)


def control(cluster: Cluster, *command: str) -> str:
    return cluster.kubectl("-n", SYSTEM, "exec", "deploy/ovn-central", "--", "ovs-appctl", "-t", NB_CONTROL, *command)


def dispatched(cluster: Cluster, flow_schema: str) -> int:
    lines = cluster.kubectl("get", "--raw", "/metrics").splitlines()
    name = f'apiserver_flowcontrol_dispatched_requests_total{{flow_schema="{flow_schema}"'
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(name))


def sent(cluster: Cluster) -> Sent:
    log = cluster.kubectl("-n", SYSTEM, "logs", "deploy/ovn-central")
    transactions = sum(bool(TRANSACTION.search(line)) for line in log.splitlines())
    return Sent(dispatched(cluster, WRITES), dispatched(cluster, LEASES), transactions)


def database_bytes(cluster: Cluster) -> int:
    return int(cluster.on("node1", "stat", "-c", "%s", "/etc/origin/ovn/ovnnb_db.db"))


def settled(cluster: Cluster) -> Sent:
    """The counts once nothing was sent from one renewal of the Lease to the next: also coalesced writes are out by then.

    Namespaces of other tests have gone before.
    """
    going = "--field-selector=status.phase=Terminating"
    cluster.eventually(lambda: not cluster.all("namespace", "", going), "end of the namespaces of other tests")
    last = sent(cluster)

    def quiet() -> bool:
        nonlocal last
        before, last = last, sent(cluster)
        return last.leases > before.leases and last.since(before).api_writes == last.since(before).transactions == 0

    cluster.eventually(quiet, "an end of what the controller sends", 60)
    return last


def test_a_pod_costs_two_writes_and_its_end_one(cluster: Cluster, namespace: str, counted: None) -> None:
    """Beside the Subnet's status, which is coalesced. This also shows that the counting counts."""
    before = settled(cluster)
    cluster.run_pods(namespace, pod_spec(namespace, "p", node="node1"))
    created = settled(cluster)
    cluster.delete("pod", "p", namespace=namespace)
    cluster.eventually(lambda: not cluster.ports(namespace), "end of the port")
    deleted = settled(cluster)
    statuses = 1
    assert created.since(before).api_writes == 2 + statuses
    assert deleted.since(created).api_writes == 1 + statuses
    assert created.since(before).transactions == deleted.since(created).transactions == 1


def test_a_restart_with_nothing_changed_sends_nothing(cluster: Cluster, counted: None) -> None:
    before, size = settled(cluster), database_bytes(cluster)
    replace_pods(cluster, CONTROLLER)
    holder = f"--for=jsonpath={{.spec.holderIdentity}}={leader(cluster)}"
    cluster.kubectl("-n", SYSTEM, "wait", holder, f"lease/{CONTROLLER}", "--timeout=60s")
    after = settled(cluster)
    assert after.leases > before.leases
    assert (after.since(before).api_writes, after.since(before).transactions) == (0, 0)
    assert database_bytes(cluster) == size


def leader(cluster: Cluster) -> str:
    """The identity of the controller that leads now: one of those that run."""
    names = [pod["metadata"]["name"] for pod in cluster.all("pod", SYSTEM, "-l", f"app={CONTROLLER}")]
    found: list[str] = []

    def elected() -> bool:
        holder = cluster.get("lease", CONTROLLER, SYSTEM)["spec"].get("holderIdentity") or ""
        found[:] = [holder] if any(holder.startswith(name) for name in names) else []
        return bool(found)

    cluster.eventually(elected, "a leader among the new controllers")
    return found[0]
