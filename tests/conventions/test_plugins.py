"""`ls plugins/` is the feature list: folders, entry points and the linter's layers agree, and each folder holds the same few files."""

from __future__ import annotations

import configparser
import tomllib
from importlib import import_module
from typing import Any

import pytest
import yaml

from ovnloom.core.config import Settings
from ovnloom.core.plugins import AGENT, CONTROLLER, NoSettings, Plugin
from tests.conventions import repository, rules, worlds

SECTIONS = ["What it does", "Example", "Rows", "Configuration", "Errors"]
STANDARD = {
    "__init__.py", "plugin.py", "model.py", "rows.py", "validate.py", "settings.py", "agent.py", "commands.py", "metrics.py",
    "rbac.yaml", "README.md", "crds",
}  # fmt: skip
PLUGINS = repository.plugins()
every_plugin = pytest.mark.parametrize("name", PLUGINS)


def entry_points(group: str) -> dict[str, str]:
    project = tomllib.loads(repository.text("pyproject.toml"))["project"]
    found: dict[str, str] = project["entry-points"].get(group, {})
    return found


def plugin_class(group: str, name: str) -> type[Plugin]:
    module, _, attribute = entry_points(group)[name].partition(":")
    found: type[Plugin] = getattr(import_module(module), attribute)
    assert issubclass(found, Plugin)
    return found


def readme(name: str) -> str:
    return repository.text(f"plugins/{name}/README.md")


def listed(name: str, section: str) -> str:
    return repository.sections(readme(name))[section]


def test_folders_are_entry_points_are_layers() -> None:
    linter = configparser.ConfigParser()
    linter.read_string(repository.text(".importlinter"))
    independent = [line for line in linter["importlinter:contract:plugins"]["modules"].splitlines() if line]
    assert PLUGINS
    assert sorted(entry_points(CONTROLLER)) == PLUGINS
    assert sorted(independent) == [f"ovnloom.plugins.{name}" for name in PLUGINS]
    with_node_side = [name for name in PLUGINS if (repository.PLUGINS / name / "agent.py").exists()]
    assert sorted(entry_points(AGENT)) == with_node_side


@every_plugin
def test_files(name: str) -> None:
    folder = repository.PLUGINS / name
    held = {path.name for path in folder.iterdir() if path.name != "__pycache__"}
    assert {"__init__.py", "plugin.py", "README.md"} <= held
    for further in held - STANDARD:  # parts of rows.py or model.py that fill a file; the reader is told what is in them
        assert f"`{further}`" in readme(name), f"{further} is not a standard name, and the README does not say what it is for"
    assert len((folder / "plugin.py").read_text().splitlines()) <= rules.PLUGIN_LINES
    has_settings = plugin_class(CONTROLLER, name).config_class is not NoSettings
    assert ("settings.py" in held) == has_settings


@every_plugin
def test_entry_points_name_their_folder(name: str) -> None:
    for group, module in ((CONTROLLER, "plugin"), (AGENT, "agent")):
        if name in entry_points(group):
            assert entry_points(group)[name].startswith(f"ovnloom.plugins.{name}.{module}:")
            assert plugin_class(group, name).name == name


@every_plugin
def test_both_sides_read_one_section(name: str) -> None:
    """Controller and agents get the same file: what one of them refuses, nobody can set."""
    if name in entry_points(AGENT):
        assert plugin_class(CONTROLLER, name).config_class is plugin_class(AGENT, name).config_class


@every_plugin
def test_readme_has_the_sections(name: str) -> None:
    assert readme(name).startswith(f"# {name}\n")
    assert list(repository.sections(readme(name))) == SECTIONS
    assert all(body.strip() for body in repository.sections(readme(name)).values())


def promised(name: str) -> list[tuple[str, str]]:
    """Table and natural key of the rows in the section Rows: lines ``- `Table` `key`: …``."""
    lines = [line for line in listed(name, "Rows").splitlines() if line.startswith("- ")]
    parts = [line.split("`") for line in lines]
    assert all(len(part) >= 5 and part[2] == " " for part in parts), lines
    return [(part[1], part[3]) for part in parts]


@every_plugin
def test_the_example_gives_the_rows(name: str) -> None:
    documents = worlds.documents(listed(name, "Example"))
    assert documents
    world = worlds.world()
    world.apply(*documents)
    assert not world.failures, [failure.sentence for failure in world.failures]
    rows = promised(name)
    assert rows
    for table, key in rows:
        assert key in world.rows(table), f"no {table} {key}; there are {sorted(world.rows(table))}"
        ids: Any = world.rows(table)[key]["external_ids"]
        assert ids["ovnloom"].startswith(f"{name}/"), f"{table} {key} is of {ids['ovnloom']}"
    replica = world.database.replica
    written = {owned.table for owned in replica.owned() if owned.owner.startswith(f"{name}/")}
    assert written == {table for table, _ in rows}, "a table is missing in the section Rows"


@every_plugin
def test_the_errors_are_said(name: str) -> None:
    """Each line of the table: the change (YAML) in the example, and words of the sentence that its author hears.

    A plugin that answers no hook in which it could complain may say ``None`` instead.
    """
    if listed(name, "Errors").strip().startswith("None"):
        assert not {"validate", "address_request"} & vars(plugin_class(CONTROLLER, name)).keys()
        return
    table = repository.table(listed(name, "Errors"))
    assert table[0] == ["Change", "Sentence"]
    assert table[1:]
    for change, words in table[1:]:
        world = worlds.world()
        world.apply(*worlds.changed(worlds.documents(listed(name, "Example")), yaml.safe_load(repository.code(change))))
        said = [failure.sentence for failure in world.failures]
        assert any(repository.code(words) in sentence for sentence in said), f"{change}: {said}"


def settings_table(markdown: str, model: type[Settings]) -> None:
    """The first table says the keys and defaults of *model*: all of them, in order."""
    table = repository.table(markdown)
    assert table[0][:2] == ["Key", "Default"]
    written = [(repository.code(row[0]), yaml.safe_load(repository.code(row[1]))) for row in table[1:]]
    defaults = model().model_dump(by_alias=True, mode="json")
    assert written == list(defaults.items())
    assert all(row[2] for row in table[1:])


@every_plugin
def test_configuration_is_complete(name: str) -> None:
    model = plugin_class(CONTROLLER, name).config_class
    if model.model_fields:
        settings_table(listed(name, "Configuration"), model)
    else:
        assert listed(name, "Configuration").strip() == "None."
