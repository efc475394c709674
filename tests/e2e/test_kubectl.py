"""kubectl's own ways to a pod."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovnloom.sandbox.cluster import in_lan
from ovnloom.sandbox.command import run
from tests.e2e.cluster import AGNHOST, PORT, Cluster, Pod, pod_spec


@pytest.fixture
def pod(cluster: Cluster, namespace: str) -> Pod:
    return cluster.run_pods(namespace, pod_spec(namespace, "web", node=cluster.plan.nodes[-1], image=AGNHOST))[0]


@pytest.fixture
def forwarded(cluster: Cluster, pod: Pod) -> Iterator[str]:
    argv = cluster.kubectl_argv("-n", pod.namespace, "port-forward", f"pod/{pod.name}", f":{PORT}", "--address=127.0.0.1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        yield forward.stdout.readline().split(" -> ")[0].split()[-1]
        forward.kill()


def test_exec_and_logs(cluster: Cluster, pod: Pod) -> None:
    assert cluster.inside(pod, "hostname") == "web\n"
    assert "web" in cluster.inside(pod, "curl", "-sS", f"http://localhost:{PORT}/hostname")
    assert "GET /hostname" in cluster.kubectl("-n", pod.namespace, "logs", pod.name)


def test_port_forward(cluster: Cluster, forwarded: str) -> None:
    assert run(in_lan(cluster.plan, "curl", "-sS", "-m", "10", f"http://{forwarded}/hostname")) == "web"


def test_cp(cluster: Cluster, pod: Pod, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(bytes(range(256)) * 4000)
    cluster.kubectl("cp", str(there), f"{pod.namespace}/{pod.name}:/tmp/there")
    cluster.kubectl("cp", f"{pod.namespace}/{pod.name}:/tmp/there", str(back))
    assert back.read_bytes() == there.read_bytes()
