"""Everything that is wrong in a configuration is said at once, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovnloom.core import config, plugins
from ovnloom.core.errors import ConfigError


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plugins.load(plugins.CONTROLLER, config.load(written(path / "ovnloom.yaml", text)))
    return caught.value.problems


def test_defaults_load_the_built_in_plugins_in_order() -> None:
    assert [p.name for p in plugins.load(plugins.CONTROLLER, config.Config()).plugins] == ["vpc", "subnet", "node", "service", "acl"]


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    assert problems(tmp_path, "cluster: {nodeSwitsh: join}") == ["cluster.nodeSwitsh: unknown key; did you mean nodeSwitch?"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "plugins: [subnet, vcp, node: {cidrr: 1.2.3.4/8}]")
    assert "plugins: vcp is not installed; did you mean vpc?" in found
    assert "plugins: subnet needs vpc; list vpc before it" in found
    assert "plugins.node.cidrr: unknown key; did you mean cidr?" in found
    assert len(found) == 3


def test_listed_twice(tmp_path: Path) -> None:
    assert problems(tmp_path, "plugins: [vpc, vpc]") == ["plugins: vpc is listed twice; keep one"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not YAML"),
        ("- a", "must be a mapping"),
        ("plugins: 7", "plugins"),
        ("cluster: {nodeSwitch: [x]}", "cluster.nodeSwitch"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in problem for problem in problems(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        config.load(tmp_path / "nowhere.yaml")
