"""Pages in docs/: links lead somewhere, what is named exists, and lists are complete."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ovnloom.core import config, plugins
from ovnloom.core.config import ClusterConfig, Config
from tests.conventions import repository, rules
from tests.conventions.test_plugins import settings_table

PAGES = [path for path in repository.files() if path.suffix == ".md"]
every_page = pytest.mark.parametrize("page", PAGES, ids=str)
# A path of the repository in backticks; `plugins/<name>/` and the like stand for many.
PATH = re.compile(rf"`((?:{'|'.join(repository.PARTS)}|docs|changelog\.d)/[\w./-]*)(?::([A-Za-z_][\w.]*))?`")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ +(.+?)\s*$", repository.text(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", repository.text(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (repository.ROOT / page.parent / path).resolve() if path else repository.ROOT / page
        assert found.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(found.relative_to(repository.ROOT)), f"{page}: {target}"


def defined(path: Path) -> set[str]:
    """Names of functions, classes and methods (``Class.method``); of a C file, functions."""
    if path.suffix == ".c":
        return set(re.findall(r"(?m)^(?:static )?[\w ]+?[ *](\w+)\(", repository.text(path)))
    found = set()
    for node in repository.tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found


def missing(markdown: str) -> list[str]:
    absent = []
    for path, name in PATH.findall(markdown):
        if not (repository.ROOT / path).exists():
            absent.append(path)
        elif name and name not in defined(Path(path)):
            absent.append(f"{path}:{name}")
    return absent


@every_page
def test_what_is_named_exists(page: Path) -> None:
    assert not missing(repository.text(page))


def test_a_missing_name_is_seen() -> None:
    text = "`core/engine.py:Engine.step` `cni/shim.c:main` `core/nowhere.py` `core/engine.py:Engine.nothing` `cni/shim.c:nothing`"
    assert missing(text) == ["core/nowhere.py", "core/engine.py:Engine.nothing", "cni/shim.c:nothing"]


def test_the_way_of_a_pod_names_functions() -> None:
    named = PATH.findall(repository.text("docs/following-a-pod.md"))
    assert len([name for _, name in named if name]) > 40


def test_the_tree_of_the_architecture_is_complete() -> None:
    """Every module of core is named in the drawing of the repository."""
    drawing = repository.blocks(repository.text("docs/architecture.md"), "text")[0]
    for path in repository.python("core"):
        if path.name != "__init__.py":
            assert re.search(rf"\b{path.stem}\b", drawing), f"docs/architecture.md, section 2 does not name {path}"
    for part in repository.PARTS:
        assert re.search(rf"(?m)^{part}/", drawing), part


def test_decisions_are_numbered() -> None:
    pages = sorted((repository.ROOT / "docs/adr").glob("*.md"))
    assert pages
    for number, page in enumerate(pages, 1):
        assert re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", page.name), f"{page.name} should be number {number:04}"
        text = page.read_text()
        assert text.startswith(f"# {number}. "), page.name
        assert "**Decision.**" in text, page.name
        assert len(text.splitlines()) <= 60, f"{page.name}: a decision fits on a page"


def test_differences_are_complete_lines() -> None:
    table = repository.table(repository.text("docs/kube-ovn-differences.md"))
    assert table[0] == ["topic", "Kube-OVN", "ovnloom", "why"]
    topics = [row[0] for row in table[1:]]
    assert len(topics) > 5
    assert len(set(topics)) == len(topics)
    assert all(len(row) == 4 and all(row) for row in table)


def test_fragments() -> None:
    found = [path for path in repository.files() if path.parts[0] == "changelog.d" and path.name != "README.md"]
    faults = [fault for path in found for fault in rules.fragment_faults(path.name, repository.text(path))]
    assert not faults, faults


def test_the_configuration_page_is_complete(tmp_path: Path) -> None:
    sections = repository.sections(repository.text("docs/configuration.md"))
    assert list(sections) == list(Config.model_fields)
    settings_table(sections["cluster"], ClusterConfig)
    default = ", ".join(str(name) for name in Config().plugins)
    assert f"`[{default}]`" in sections["plugins"]
    for name in repository.plugins():
        assert f"[{name}](../plugins/{name}/README.md#configuration)" in sections["plugins"]
    for block in repository.blocks(repository.text("docs/configuration.md"), "yaml"):
        file = tmp_path / "ovnloom.yaml"
        file.write_text(block)
        for group in (plugins.CONTROLLER, plugins.AGENT):
            assert plugins.load(group, config.load(file)).plugins
