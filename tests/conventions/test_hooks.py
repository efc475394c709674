"""Every hook is documented, dated, tested, and changes on purpose only."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from ovnloom.core import hooks
from tests.conventions import repository, signatures

HOOKS = [(side, name) for side in signatures.SIDES for name in signatures.names(side)]
every_hook = pytest.mark.parametrize(("side", "name"), HOOKS, ids=[name for _, name in HOOKS])


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@every_hook
def test_documented(side: type, name: str) -> None:
    section = repository.sections(repository.text("docs/hooks.md")).get(name, "")
    parameters = [p for p in inspect.signature(vars(side)[name]).parameters if p != "self"]
    assert section.strip().startswith(f"`{name}({', '.join(parameters)})"), f"docs/hooks.md has no section {name} that begins with its call"


@every_hook
def test_dated(side: type, name: str) -> None:
    added = re.search(r"\.\. versionadded:: (\d+\.\d+)$", inspect.getdoc(vars(side)[name]) or "", re.M)
    assert added, f"{name} does not say since when it is there"
    assert version(added[1]) <= version(hooks.API_VERSION)


@every_hook
def test_tested(side: type, name: str) -> None:
    tests = {
        node.name
        for path in repository.python("tests")
        for node in ast.walk(repository.tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert any(test.startswith(f"test_hook_{name}") for test in tests), f"no test is called test_hook_{name}…"


def test_no_section_without_a_hook() -> None:
    assert list(repository.sections(repository.text("docs/hooks.md"))) == [name for _, name in HOOKS]


@every_hook
def test_used(side: type, name: str) -> None:
    """A hook ships only with a plugin that needs it."""
    implementations = {
        node.name
        for path in repository.python("plugins")
        for node in ast.walk(repository.tree(path))
        if isinstance(node, ast.FunctionDef) and any(isinstance(d, ast.Name) and d.id == "hookimpl" for d in node.decorator_list)
    }
    assert name in implementations, f"no plugin implements {name}"


def test_signatures_are_golden() -> None:
    golden = repository.text("tests/conventions/hooks.golden").splitlines()
    assert list(signatures.lines()) == golden, "for plugins this changes the API: see tests/conventions/signatures.py"
