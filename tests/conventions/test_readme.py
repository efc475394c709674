"""The README tells the truth: its plugin runs, its commands exist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ovnloom.cli.main import app as ovnloom
from ovnloom.core.desired.model import Row, RowKey, Slot
from ovnloom.core.hooks import hookimpl
from ovnloom.core.kube.kinds import PODS, Pod
from ovnloom.core.names import pod_port
from ovnloom.core.ovn.priorities import Band, Bands
from ovnloom.core.plugins import Plugin
from ovnloom.core.testing import World, pod
from ovnloom.plugins.node.plugin import NodePlugin
from ovnloom.plugins.subnet.plugin import SubnetPlugin
from ovnloom.plugins.vpc.plugin import VpcPlugin
from ovnloom.sandbox.cli import app as loom
from tests.conventions import repository

README = repository.text("README.md")
TELLING = ["README.md", "CONTRIBUTING.md", "docs/configuration.md", "docs/following-a-pod.md", "docs/ipam.md", "changelog.d/README.md"]


def test_the_plugin_of_the_readme_runs() -> None:
    plugin, test = repository.blocks(README, "python")
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 20
    names: dict[str, Any] = {
        **{kind.__name__: kind for kind in (Plugin, Pod, Row, RowKey, Slot, Band, World, VpcPlugin, SubnetPlugin, NodePlugin)},
        **{"hookimpl": hookimpl, "PODS": PODS, "pod_port": pod_port, "pod": pod, "register": Bands().register},
    }
    exec(compile(plugin, "README.md", "exec"), names)  # noqa: S102  # the README is ours
    exec(compile(test, "README.md", "exec"), names)  # noqa: S102


def commands(app: Any) -> set[str]:
    named = {command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands}
    return named | {group.name for group in app.registered_groups}


def spans(markdown: str) -> str:
    """What is written as code: in backticks or in blocks of a shell."""
    text = re.sub(r"(?ms)^```.*?^```$", "", markdown)
    return "\n".join([*re.findall(r"`([^`\n]+)`", text), *repository.blocks(markdown, "sh")])


@pytest.mark.parametrize("page", [*TELLING, *(f"plugins/{name}/README.md" for name in repository.plugins())])
def test_commands_exist(page: str) -> None:
    text = spans(repository.text(page))
    assert set(re.findall(r"\./loom ([a-z]+)", text)) <= commands(loom)
    assert set(re.findall(r"(?m)^ovnloom ([a-z]+)", text)) <= commands(ovnloom)


def test_the_readme_names_the_two_commands() -> None:
    assert {"up", "test"} <= set(re.findall(r"\./loom ([a-z]+)", README))
    assert "<!-- gaps -->" in README or "| restarted |" in README
