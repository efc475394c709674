"""Garbage on a node: to the agent's socket, and to the CNI binary that the runtime calls. The answer is always CNI error JSON."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.e2e.cluster import Cluster, Json

SOCKET = "/run/openvswitch/kube-ovn-daemon.sock"
BINARY = "/opt/cni/bin/kube-ovn"
CONFIG = {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET}
ENV = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "e2e",
    "CNI_NETNS": "/run/netns/none",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=a1",
}


def agent(cluster: Cluster) -> list[str]:
    listed = cluster.all("pod", "kube-system", "-l", "app=kube-ovn-cni", "--field-selector=spec.nodeName=node1")
    return [f"{pod['metadata']['uid']} {status['restartCount']}" for pod in listed for status in pod["status"]["containerStatuses"]]


def error_of(text: str) -> Json:
    answer = json.loads(text)
    assert isinstance(answer["code"], int) and answer["msg"] and "Traceback" not in text
    return dict(answer)


GARBAGE = {
    "empty": "",
    "words": "garbage",
    "array": "[]",
    "null": "null",
    "wrong types": '{"env": 3, "config": {}}',
    "no version": '{"env": {}, "config": {}}',
    "deep": "[" * 100_000,
    "controls": "\x01\x02",
    "long": '"' + "x" * 900_000,
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_to_the_socket(cluster: Cluster, case: str) -> None:
    before = agent(cluster)
    argv = ("curl", "-sS", "-m", "10", "--unix-socket", SOCKET, "--data-binary", "@-", "http://cni/api/v1/add")
    assert error_of(cluster.on("node1", *argv, stdin=GARBAGE[case]))["code"] in (4, 6, 7)
    assert agent(cluster) == before


def call(cluster: Cluster, config: str, **env: str) -> str:
    """Calls the real binary as the runtime does. It must fail."""
    words = [f"{key}={value}" for key, value in (ENV | env).items()]
    script = f"env -i {shlex.join(words)} {BINARY} && echo SUCCEEDED; true"
    printed = cluster.on("node1", "sh", "-c", script, stdin=config)
    assert "SUCCEEDED" not in printed
    return printed


BAD_CALLS: dict[str, tuple[str, dict[str, str], set[int]]] = {
    "garbage": ("garbage", {}, {6}),
    "nothing": ("", {}, {6, 7}),
    "version": (json.dumps(CONFIG | {"cniVersion": "9.9.9"}), {}, {1}),
    "interface": (json.dumps(CONFIG), {"CNI_IFNAME": "../eth0"}, {4}),
    "container": (json.dumps(CONFIG), {"CNI_CONTAINERID": "a/b\n"}, {4}),
    "command": (json.dumps(CONFIG), {"CNI_COMMAND": "EXPLODE"}, {4}),
    "arguments": (json.dumps(CONFIG), {"CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=../../x"}, {4}),
    "namespace path": (json.dumps(CONFIG), {}, {3, 4, 100}),
    "socket": (json.dumps(CONFIG | {"server_socket": "/run/none.sock"}), {}, {11, 50}),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_call_of_the_binary(cluster: Cluster, case: str) -> None:
    config, env, codes = BAD_CALLS[case]
    before = agent(cluster)
    assert error_of(call(cluster, config, **env))["code"] in codes
    assert agent(cluster) == before


def test_delete_of_what_never_was(cluster: Cluster) -> None:
    words = [f"{key}={value}" for key, value in (ENV | {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "never"}).items()]
    assert cluster.on("node1", "env", "-i", *words, BINARY, stdin=json.dumps(CONFIG)) == ""


def test_version(cluster: Cluster) -> None:
    words = ["CNI_COMMAND=VERSION"]
    answer = json.loads(cluster.on("node1", "env", "-i", *words, BINARY, stdin=json.dumps({"cniVersion": "1.0.0"})))
    assert "1.0.0" in answer["supportedVersions"]
