"""The chart as Helm renders it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.apiserver import binary

CHART = Path(__file__).resolve().parents[2] / "deploy" / "chart"
Manifest = dict[str, Any]


def helm() -> str:
    """The program. Skips the test, or fails it in CI, if it is nowhere."""
    found = binary("helm")
    if found is None:
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)("not found: helm (set OVNLOOM_BIN)")
    return str(found)


def try_render(values: Manifest) -> subprocess.CompletedProcess[str]:
    words = [helm(), "template", "ovnloom", str(CHART), "-n", "kube-system", "--kube-version=1.34.0", "-f", "-"]
    return subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, check=False)


def render(**values: Any) -> list[Manifest]:
    done = try_render({"MASTER_NODES": "10.0.0.1", **values})
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refused(**values: Any) -> str:
    """What Helm says about *values*."""
    done = try_render({"MASTER_NODES": "10.0.0.1", **values})
    assert done.returncode != 0, "it was accepted"
    return done.stderr


def find(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    found = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {[(m['kind'], m['metadata']['name']) for m in manifests]}"
    return found[0]


def container(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    return dict(find(manifests, kind, name)["spec"]["template"]["spec"]["containers"][0])
