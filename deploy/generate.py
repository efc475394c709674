#!/usr/bin/env python3
"""Writes the chart's templates that follow from the plugins: CRDs (plugins/*/crds/*.yaml) and roles (plugins/*/rbac.yaml).

    deploy/generate.py           write
    deploy/generate.py --check   exit 1 and name what is not current

CRDs are templates, not the chart's crds/ folder, because Helm never upgrades that one; they are kept when the release goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "deploy" / "chart" / "templates"
HEADER = "# Written by deploy/generate.py from {source}: change them there.\n"
NAMESPACE = "{{ .Values.namespace }}"
ROLES = {"controller": ("system:ovn", "ovn"), "agent": ("system:kube-ovn-cni", "kube-ovn-cni")}
"""Part of rbac.yaml -> (prefix of the ClusterRole's name, ServiceAccount)."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _document(content: Mapping[str, Any]) -> str:
    return "---\n" + yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, width=140)


def crds(plugins: Path) -> str:
    """The text of ``crds.yaml``. Raises ``ValueError`` for a file that holds something else than one CRD."""
    text = HEADER.format(source="plugins/*/crds/*.yaml")
    for path in sorted(plugins.glob("*/crds/*.yaml")):
        crd = yaml.safe_load(path.read_text())
        if not isinstance(crd, dict) or crd.get("kind") != "CustomResourceDefinition":
            raise ValueError(f"{path}: must hold one CustomResourceDefinition")
        crd["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
        # A description may hold what Helm would take for a template.
        text += _document(crd).replace("{{", '{{ "{{" }}')
    return text


def roles(plugins: Path) -> str:
    """The text of ``rbac-plugins.yaml``: a ClusterRole and binding for each plugin and part. Raises ``ValueError`` for an unknown part."""
    text = HEADER.format(source="plugins/*/rbac.yaml")
    for path in sorted(plugins.glob("*/rbac.yaml")):
        parts = yaml.safe_load(path.read_text()) or {}
        for part in sorted(set(parts) - set(ROLES)):
            raise ValueError(f"{path}: unknown part {part}; valid are {', '.join(ROLES)}")
        for part, (prefix, account) in ROLES.items():
            if parts.get(part):
                text += "".join(_document(content) for content in _role(f"{prefix}:{path.parent.name}", account, parts[part]))
    return text


def _role(name: str, account: str, rules: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    yield {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    }


def rendered(plugins: Path = ROOT / "plugins") -> dict[Path, str]:
    return {TEMPLATES / "crds.yaml": crds(plugins), TEMPLATES / "rbac-plugins.yaml": roles(plugins)}


def main(arguments: list[str]) -> int:
    stale = {path: text for path, text in rendered().items() if not path.exists() or path.read_text() != text}
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: run deploy/generate.py", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for path, text in stale.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
