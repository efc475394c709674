"""Certificates as Kubernetes asks for them, read back by openssl."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ovnloom.sandbox import pki
from ovnloom.sandbox.paths import Cache
from ovnloom.sandbox.plan import Options, Plan, make_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    made = make_plan(Cache(tmp_path_factory.mktemp("cache")), "loom", Options(nodes=2))
    pki.make_pki(made)
    return made


def openssl(plan: Plan, *words: str) -> str:
    return subprocess.run(["openssl", *words], cwd=plan.pki, text=True, capture_output=True, check=True).stdout


def test_every_certificate_is_the_authoritys(plan: Plan) -> None:
    for certificate in pki.certificates(plan):
        assert openssl(plan, "verify", "-CAfile", "ca.crt", f"{certificate.name}.crt").strip().endswith("OK")


def test_a_node_is_known_to_the_node_authorizer_and_reachable_by_name_and_address(plan: Plan) -> None:
    text = openssl(plan, "x509", "-in", "node2.crt", "-noout", "-text", "-nameopt", "RFC2253")
    assert "CN=system:node:node2,O=system:nodes" in text
    assert "DNS:node2" in text and "IP Address:172.31.0.2" in text and "IP Address:FD00:172:31:0:0:0:0:2" in text
    assert "CA:FALSE" in text


def test_the_api_server_is_valid_at_every_address_it_has(plan: Plan) -> None:
    text = openssl(plan, "x509", "-in", "apiserver.crt", "-noout", "-text")
    assert all(f"IP Address:{address}" in text for address in ("172.31.0.1", "10.96.0.1", "127.0.0.1"))
    assert all(f"DNS:kubernetes{rest}" in text for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local"))


def test_serial_numbers_differ(plan: Plan) -> None:
    serials = {openssl(plan, "x509", "-in", f"{item.name}.crt", "-noout", "-serial") for item in pki.certificates(plan)}
    assert len(serials) == len(pki.certificates(plan))


def test_a_kubeconfig_carries_its_users_certificate(plan: Plan) -> None:
    config = json.loads(plan.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://172.31.0.1:6443"
    assert base64.b64decode(config["users"][0]["user"]["client-certificate-data"]) == (plan.pki / "admin.crt").read_bytes()
    assert plan.kubeconfig.stat().st_mode & 0o077 == 0


def test_keys_are_in_a_folder_of_roots_alone(plan: Plan) -> None:
    assert plan.pki.stat().st_mode & 0o077 == 0


def test_two_beds_have_two_authorities(plan: Plan, tmp_path: Path) -> None:
    other = make_plan(Cache(tmp_path), "loom", Options(nodes=1))
    pki.make_pki(other)
    assert (other.pki / "ca.crt").read_bytes() != (plan.pki / "ca.crt").read_bytes()
