from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ovnloom.core.errors import ConfigError
from ovnloom.core.kube import access
from ovnloom.core.kube.client import ApiError, Sent, sent


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", Sent("list", "pods")),
        ("GET", "/api/v1/namespaces/ns/pods", Sent("list", "pods")),
        ("GET", "/api/v1/namespaces/ns/pods/a", Sent("get", "pods")),
        ("PATCH", "/api/v1/namespaces/ns/pods/a", Sent("patch", "pods")),
        ("PATCH", "/api/v1/namespaces/ns/pods/a/status", Sent("patch", "pods/status")),
        ("GET", "/api/v1/namespaces", Sent("list", "namespaces")),
        ("GET", "/api/v1/namespaces/ns", Sent("get", "namespaces")),
        ("PUT", "/api/v1/namespaces/ns/status", Sent("update", "namespaces/status")),
        ("POST", "/apis/kubeovn.io/v1/ips", Sent("create", "ips.kubeovn.io")),
        ("DELETE", "/apis/kubeovn.io/v1/ips/a.ns", Sent("delete", "ips.kubeovn.io")),
        ("DELETE", "/apis/kubeovn.io/v1/ips", Sent("deletecollection", "ips.kubeovn.io")),
        ("PATCH", "/apis/kubeovn.io/v1/subnets/s/status", Sent("patch", "subnets.kubeovn.io/status")),
        ("PATCH", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/l", Sent("patch", "leases.coordination.k8s.io")),
        ("GET", "/apis/kubeovn.io/v1", Sent("get", "/apis/kubeovn.io/v1")),
        ("GET", "/version", Sent("get", "/version")),
    ],
)
def test_requests_are_named(method: str, path: str, expected: Sent) -> None:
    assert sent(method, path) == expected


def test_a_watch_is_named() -> None:
    assert sent("GET", "/api/v1/pods", {"watch": "true"}) == Sent("watch", "pods")


def test_an_error_says_what_the_server_said() -> None:
    body = b'{"kind":"Status","message":"slow down","reason":"TooManyRequests","code":429,"details":{"retryAfterSeconds":3}}'
    error = ApiError.from_answer(429, body)
    assert (error.too_many_requests, error.retry_after, str(error)) == (True, 3.0, "slow down (TooManyRequests)")
    assert ApiError.from_answer(429, body, retry_after="7").retry_after == 7.0
    assert ApiError.from_answer(429, body, retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after == 3.0


def test_a_version_the_server_has_not_reached_means_list_again() -> None:
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    body = json.dumps({"kind": "Status", "code": 504, "reason": "Timeout", "details": {"causes": [cause]}}).encode()
    assert ApiError.from_answer(504, body).gone
    assert not ApiError.from_answer(504, b'{"kind":"Status","reason":"Timeout"}').gone


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"\xff\xfe", b"[]", b'{"code":"x"}'])
def test_an_answer_that_is_no_status_is_quoted(body: bytes) -> None:
    error = ApiError.from_answer(502, body)
    assert error.status == 502 and error.message


def test_no_answer_at_all() -> None:
    error = ApiError.from_answer(503, b"")
    assert (error.status, error.message) == (503, "no explanation")


def kubeconfig(folder: Path, **cluster: Any) -> str:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def test_a_kubeconfig_is_read(tmp_path: Path) -> None:
    way = access.load(kubeconfig(tmp_path, **{"tls-server-name": "kubernetes"}))
    assert (way.url, way.authorization(), way.server_name) == ("https://192.0.2.1:6443", "Bearer secret", "kubernetes")


def test_a_proxy_is_used_unless_it_is_to_be_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.load(kubeconfig(tmp_path)).proxy is None
    assert access.load(kubeconfig(tmp_path, **{"proxy-url": "http://proxy:3128"})).proxy == "http://proxy:3128"
    monkeypatch.setenv("no_proxy", "192.0.2.1")
    assert access.load(kubeconfig(tmp_path, **{"proxy-url": "http://proxy:3128"})).proxy is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{{{", "expected the node content"),
        ("hello", "does not support item assignment"),
        ("", "file is empty"),
        ('{"apiVersion":"v1","kind":"Config"}', "current-context"),
    ],
)
def test_a_bad_kubeconfig_is_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigError, match=sentence) as error:
        access.load(str(path))
    assert error.value.problems[0].startswith(f"kubeconfig {path}: ")


def test_a_bad_certificate_is_a_sentence(tmp_path: Path) -> None:
    nonsense = base64.b64encode(b"nonsense").decode()
    with pytest.raises(ConfigError, match=r"certificates of https://192.0.2.1:6443"):
        access.load(kubeconfig(tmp_path, **{"certificate-authority-data": nonsense}))


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    from kubernetes.config import incluster_config

    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match=r"service account: Service token file does not exist"):
        access.load()


def test_the_typed_api_is_not_loaded(tmp_path: Path) -> None:
    """It would cost every process 20 MB."""
    access.load(kubeconfig(tmp_path))
    assert not [name for name in sys.modules if name.startswith(("kubernetes.client.models.", "kubernetes.client.api."))]
