"""Each part of the product is restarted while pods ping every 10 ms and hold a TCP connection.

The gaps are written down (``figures.json`` in the bed's folder), not judged: what must hold is that traffic comes back by itself
and that no connection breaks.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.cluster import SYSTEM, TOOLS, Cluster, Pod, namespace_spec, pod_spec

NAMESPACE = "e2e-restart"
PORT = 7000
PROBE = Path(__file__).with_name("probe.py").read_text()
REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .* icmp_seq=(\d+) ", re.M)
PING = "ping -D -n -i 0.01 -W 1 {} & p=$!; read end; kill -INT $p; wait $p"


@dataclass(slots=True)
class Stream:
    """A program in a pod or on a node that runs until it is told to end."""

    argv: list[str]
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self) -> str:
        return self.process.communicate("end\n", timeout=60)[0]

    def first_line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> Iterator[tuple[Pod, Pod]]:
    """The client on node1 and the server on node2."""
    cluster.create(namespace_spec(NAMESPACE))
    serve = ("python3", "-c", PROBE, "serve", str(PORT))
    wait = ("sleep", "infinity")
    client, server = cluster.run_pods(
        NAMESPACE,
        pod_spec(NAMESPACE, "client", node="node1", image=TOOLS, command=wait),
        pod_spec(NAMESPACE, "server", node="node2", image=TOOLS, command=serve),
    )
    yield client, server
    cluster.delete("namespace", NAMESPACE, wait=False)


def replace_pods(cluster: Cluster, label: str, node: str = "") -> None:
    """Deletes the pods of a part, on one node or everywhere, and waits until the part is whole again with others."""
    selector = ["-l", f"app={label}", *([f"--field-selector=spec.nodeName={node}"] if node else [])]
    old = {pod["metadata"]["uid"] for pod in cluster.all("pod", SYSTEM, *selector)}
    assert old
    cluster.kubectl("-n", SYSTEM, "delete", "pod", *selector, "--wait=true")

    def others() -> bool:
        present = cluster.all("pod", SYSTEM, *selector)
        ready = [pod for pod in present if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))]
        return len(ready) == len(old) and not old & {pod["metadata"]["uid"] for pod in present}

    cluster.eventually(others, f"new pods of {label}", 120)
    cluster.steady()


def pings(text: str) -> dict[str, float]:
    """Of ping's output: the longest time (seconds) between two replies with a lost one between them, how many were sent and lost.

    On a busy machine ping itself pauses, so time without a loss is no gap. Fails when there was no reply.
    """
    replies = [(float(stamp), int(number)) for stamp, number in REPLY.findall(text)]
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert counts and len(replies) > 1, text[-1000:]
    gaps = [later - earlier for (earlier, one), (later, next_one) in pairwise(replies) if next_one > one + 1]
    return {"gap": round(max(gaps, default=0.0), 3), "sent": int(counts[1]), "lost": int(counts[1]) - int(counts[2])}


PARTS = {
    "controller": ("kube-ovn-controller", ""),
    "agent": ("kube-ovn-cni", ""),
    "ovn-central": ("ovn-central", ""),
    "ovs-ovn": ("ovs", "node2"),
}


@pytest.mark.parametrize("part", PARTS)
def test_traffic_survives_a_restart(cluster: Cluster, pods: tuple[Pod, Pod], record: Callable[[str, object], None], part: str) -> None:
    client, server = pods
    entry = cluster.kubectl_argv("-n", NAMESPACE, "exec", "-i", client.name, "--")
    streams = {f"ping{family}": Stream([*entry, "sh", "-c", PING.format(address)]) for family, address in server.addresses.items()}
    streams["node ping4"] = Stream(["runc", "exec", cluster.plan.space("node2"), "sh", "-c", PING.format(server.addresses["4"])])
    tcp = Stream([*entry, "python3", "-c", PROBE, "hold", server.addresses["4"], str(PORT)])
    assert tcp.first_line() == "held\n"
    try:
        replace_pods(cluster, *PARTS[part])
        for address in server.addresses.values():  # traffic is back before the streams end
            cluster.eventually(partial(answers, cluster, client, address), f"{address} after a restart of {part}")
    finally:
        printed = {name: stream.end() for name, stream in streams.items()}
        held = tcp.end()
    figures = {name: pings(text) for name, text in printed.items()}
    figures["tcp4"] = json.loads(held)
    record(f"restart of {part}", figures)
    assert figures["tcp4"]["sent"] == figures["tcp4"]["came"] > 0


def answers(cluster: Cluster, client: Pod, address: str) -> bool:
    script = f"ping -n -c 3 -i 0.2 -W 1 {address} >/dev/null && echo yes || echo no"
    return cluster.inside(client, "sh", "-c", script) == "yes\n"


def test_pods_come_and_go_after_all_that(cluster: Cluster, pods: tuple[Pod, Pod]) -> None:
    client, _ = pods
    pod = cluster.run_pods(NAMESPACE, pod_spec(NAMESPACE, "late", node="node2"))[0]
    assert all(answers(cluster, client, address) for address in pod.addresses.values())
