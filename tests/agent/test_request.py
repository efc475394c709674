"""What comes over the CNI socket is a stranger's until it has been checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ovnloom.agent.request import CONFIGURATION, ENVIRONMENT, INCOMPATIBLE, UNDECODABLE, VERSIONS, CniError, parse

ENV = {
    "CNI_CONTAINERID": "0123abcdef",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod-0;K8S_POD_INFRA_CONTAINER_ID=0123;K8S_POD_UID=u-1",
}
CONFIG = {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": "/run/x.sock", "ipam": {"type": "other"}}
PREVIOUS = {"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "mac": "0a:00:00:00:00:01"}], "ips": [], "dns": {}}}


def body(env: dict[str, Any] | None = None, config: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"env": ENV | (env or {}), "config": CONFIG | (config or {})}).encode()


def test_add_reads_what_the_runtime_says() -> None:
    request = parse("add", body())
    assert (request.container, request.interface, request.netns) == ("0123abcdef", "eth0", "/run/netns/x")
    assert (request.namespace, request.pod, request.uid, request.version) == ("ns", "pod-0", "u-1", "1.0.0")


@pytest.mark.parametrize("version", VERSIONS)
def test_all_named_versions_are_served(version: str) -> None:
    assert parse("add", body(config={"cniVersion": version})).version == version


def test_del_needs_neither_namespace_nor_pod() -> None:
    assert parse("del", body(env={"CNI_NETNS": "", "CNI_ARGS": ""})).container == "0123abcdef"


def test_gc_reads_the_valid_attachments() -> None:
    attachments = [{"containerID": "a1", "ifname": "eth0"}]
    request = parse("gc", json.dumps({"env": {}, "config": CONFIG | {"cni.dev/valid-attachments": attachments}}).encode())
    assert [(a.container, a.ifname) for a in request.attachments] == [("a1", "eth0")]


def test_check_reads_the_previous_result() -> None:
    request = parse("check", body(config=PREVIOUS))
    assert request.previous is not None and request.previous.interfaces[0].mac == "0a:00:00:00:00:01"


HOSTILE_ENVIRONMENT = [
    {"CNI_CONTAINERID": ""},
    {"CNI_CONTAINERID": "../../etc"},
    {"CNI_CONTAINERID": "-rf"},
    {"CNI_CONTAINERID": "a\nb"},
    {"CNI_CONTAINERID": "a" * 256},
    {"CNI_IFNAME": ""},
    {"CNI_IFNAME": "a/b"},
    {"CNI_IFNAME": ".."},
    {"CNI_IFNAME": "a:b"},
    {"CNI_IFNAME": "a b"},
    {"CNI_IFNAME": "x" * 16},
    {"CNI_IFNAME": "etñ0"},
    {"CNI_IFNAME": "eth0\n"},
    {"CNI_NETNS": ""},
    {"CNI_NETNS": "run/netns/x"},
    {"CNI_NETNS": "/run/\0x"},
    {"CNI_NETNS": "/" + "x" * 4096},
    {"CNI_ARGS": ""},
    {"CNI_ARGS": "K8S_POD_NAME=p"},
    {"CNI_ARGS": "K8S_POD_NAMESPACE=n"},
    {"CNI_ARGS": "K8S_POD_NAME"},
    {"CNI_ARGS": "K8S_POD_NAMESPACE=n;K8S_POD_NAME=a/b"},
    {"CNI_ARGS": 'K8S_POD_NAMESPACE=n;K8S_POD_NAME=p";drop'},
    {"CNI_ARGS": "K8S_POD_NAMESPACE=N;K8S_POD_NAME=p"},
    {"CNI_ARGS": "K8S_POD_NAMESPACE=n;K8S_POD_NAME=" + "p" * 254},
    {"CNI_ARGS": "K8S_POD_NAMESPACE=n;K8S_POD_NAME=p;K8S_POD_UID=a b"},
]


@pytest.mark.parametrize("env", HOSTILE_ENVIRONMENT, ids=repr)
def test_a_bad_environment_is_named(env: dict[str, Any]) -> None:
    with pytest.raises(CniError) as caught:
        parse("add", body(env=env))
    assert caught.value.code == ENVIRONMENT
    assert next(iter(env)) in caught.value.message
    assert len(caught.value.message) < 400


def test_an_environment_of_numbers_is_refused() -> None:
    with pytest.raises(CniError, match=r"Expected `str`, got `int`") as caught:
        parse("add", body(env={"CNI_IFNAME": 5}))
    assert caught.value.code == ENVIRONMENT


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"cniVersion": ""}, CONFIGURATION),
        ({"cniVersion": "0.2.0"}, INCOMPATIBLE),
        ({"cniVersion": "9.9.9"}, INCOMPATIBLE),
        ({"cniVersion": 1}, CONFIGURATION),
        ({"name": ""}, CONFIGURATION),
        ({"prevResult": "x"}, CONFIGURATION),
        ({"cni.dev/valid-attachments": [{"containerID": 1}]}, CONFIGURATION),
    ],
)
def test_a_bad_configuration_is_refused(config: dict[str, Any], code: int) -> None:
    with pytest.raises(CniError) as caught:
        parse("add", body(config=config))
    assert caught.value.code == code


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"x"', b"{}", b'{"env": 1, "config": {}}', b"[" * 100_000])
def test_garbage_is_an_error_with_a_code(garbage: bytes) -> None:
    with pytest.raises(CniError) as caught:
        parse("add", garbage)
    assert caught.value.code in (UNDECODABLE, ENVIRONMENT)


@pytest.mark.parametrize(("verb", "word"), [("check", "prevResult"), ("gc", "cni.dev/valid-attachments")])
def test_what_a_verb_needs_is_named(verb: str, word: str) -> None:
    with pytest.raises(CniError, match=word):
        parse(verb, body())


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(CniError, match="no command"):
        parse("version", body())


def test_the_error_is_in_the_version_of_the_request() -> None:
    with pytest.raises(CniError) as caught:
        parse("add", body(env={"CNI_IFNAME": "a/b"}, config={"cniVersion": "0.4.0"}))
    assert json.loads(caught.value.body()) == {"cniVersion": "0.4.0", "code": ENVIRONMENT, "msg": caught.value.message}
