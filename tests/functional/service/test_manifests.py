"""What the API server makes of what this plugin writes: nothing that would have to be written again."""

from __future__ import annotations

import json
import time
import urllib.error
from typing import Any

import msgspec
import pytest
import yaml

from ovnloom.core.desired.publish import difference
from ovnloom.core.kube.objects import Metadata
from ovnloom.plugins.service import rows
from ovnloom.plugins.service.model import SERVICES, Service, ServicePort, SwitchLbRule, SwitchLbRuleSpec
from tests.conventions import repository
from tests.functional.apiserver import ApiServer, apiserver

__all__ = ["apiserver"]

pytestmark = pytest.mark.kube


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": ["app:web"], "ports": [ServicePort("http", "TCP", 80, 8080), ServicePort("dns", "UDP", 53, 53)]},
        {"selector": ["app:web"], "ports": [ServicePort("", "TCP", 80, 8080)], "session_affinity": "ClientIP"},
        {"endpoints": ["10.0.0.9"], "ports": [ServicePort("", "SCTP", 80, 8080)], "session_affinity": "None"},
    ],
)
def test_the_service_of_a_rule_is_taken_as_it_is(apiserver: ApiServer, spec: dict[str, Any]) -> None:
    name = f"r{len(str(spec))}"
    rule = SwitchLbRule(Metadata(name=name, uid="7"), SwitchLbRuleSpec(vip="10.0.0.5", **spec))
    child = rows.rule_service(rule, "ovn-cluster")
    apiserver.request("POST", "/api/v1/namespaces/default/services", dict(child.manifest))
    held = apiserver.request("GET", f"/api/v1/namespaces/default/services/slr-{name}")
    assert difference(SERVICES, child, msgspec.json.decode(held, type=Service)) == {}  # type: ignore[arg-type]  # Kind is invariant in its struct


def test_the_crd_is_taken_and_keeps_every_field(apiserver: ApiServer) -> None:
    crd = yaml.safe_load(repository.text("plugins/service/crds/switch-lb-rules.yaml"))
    apiserver.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {
        "vip": "10.0.0.5",
        "namespace": "shop",
        "selector": ["a:b"],
        "endpoints": ["10.0.0.9"],
        "sessionAffinity": "ClientIP",
        "ports": ports,
    }
    rule = {"apiVersion": "kubeovn.io/v1", "kind": "SwitchLBRule", "metadata": {"name": "front"}, "spec": spec}
    assert json.loads(_when_served(apiserver, "/apis/kubeovn.io/v1/switch-lb-rules", rule))["spec"] == spec


def _when_served(apiserver: ApiServer, path: str, body: Any) -> bytes:
    until = time.monotonic() + 20
    while True:
        try:
            return apiserver.request("POST", path, body)
        except urllib.error.HTTPError as error:
            if error.code != 404 or time.monotonic() > until:
                raise
            time.sleep(0.1)
