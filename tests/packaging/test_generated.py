"""Templates that follow from the plugins are current."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


def test_templates_are_current(generate: ModuleType) -> None:
    stale = [path.name for path, text in generate.rendered().items() if path.read_text() != text]
    assert not stale, "run deploy/generate.py"


def test_a_part_that_nobody_knows_is_named(generate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "qos").mkdir()
    (tmp_path / "qos/rbac.yaml").write_text("daemon: []")
    with pytest.raises(ValueError, match=r"qos/rbac.yaml: unknown part daemon; valid are controller, agent"):
        generate.roles(tmp_path)


def test_what_is_no_crd_is_named(generate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "qos/crds").mkdir(parents=True)
    (tmp_path / "qos/crds/x.yaml").write_text("kind: ConfigMap")
    with pytest.raises(ValueError, match="must hold one CustomResourceDefinition"):
        generate.crds(tmp_path)


def test_braces_in_a_description_reach_the_api_server(generate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "qos/crds").mkdir(parents=True)
    (tmp_path / "qos/crds/x.yaml").write_text("kind: CustomResourceDefinition\nmetadata: {name: x}\nspec: {description: 'a {{ b }}'}")
    assert 'a {{ "{{" }} b }}' in generate.crds(tmp_path)


def test_roles_are_bound_to_the_parts_account(generate: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "qos").mkdir()
    (tmp_path / "qos/rbac.yaml").write_text("agent:\n- {apiGroups: [kubeovn.io], resources: [x], verbs: [get]}")
    role, binding = list(yaml.safe_load_all(generate.roles(tmp_path)))
    assert (role["kind"], role["metadata"]["name"]) == ("ClusterRole", "system:kube-ovn-cni:qos")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "kube-ovn-cni", "namespace": "{{ .Values.namespace }}"}]
