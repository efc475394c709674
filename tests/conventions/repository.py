"""The repository as the convention tests see it: its files, its Python as syntax trees, its Markdown by sections."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("core", "cli", "plugins", "agent", "cni", "sandbox", "deploy", "tests")
PLUGINS = ROOT / "plugins"
# Not ours to judge: made by programs, or the links that give the parts their import name.
SKIPPED = {"__pycache__", "build", "dist", "node_modules", "ovnloom"}
DOTTED = {".ci", ".github", ".importlinter", ".gitignore"}


@cache
def files() -> tuple[Path, ...]:
    """Every file that belongs to the repository, relative to its root."""
    return tuple(sorted(path.relative_to(ROOT) for path in _walk(ROOT)))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        hidden = path.name.startswith(".") and path.name not in DOTTED
        if hidden or path.name in SKIPPED or path.name.endswith(".egg-info") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def python(*parts: str) -> list[Path]:
    """Python files of *parts* (all of them without), relative to the root."""
    return [path for path in files() if path.suffix == ".py" and path.parts[0] in (parts or PARTS)]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def text(path: str | Path) -> str:
    return (ROOT / path).read_text()


def plugins() -> list[str]:
    """The feature list."""
    return sorted(path.name for path in PLUGINS.iterdir() if path.is_dir() and (path / "__init__.py").exists())


def sections(markdown: str) -> Mapping[str, str]:
    """Heading of the second level -> what stands below it."""
    parts = re.split(r"(?m)^## +(.+?)\s*$", re.sub(r"(?ms)^```.*?^```$", lambda m: m[0].replace("\n## ", "\n\0## "), markdown))
    return {title: body.replace("\0", "") for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def blocks(markdown: str, language: str) -> list[str]:
    """The fenced code blocks of *language*."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", markdown)


def table(markdown: str) -> list[list[str]]:
    """The cells of the first table, heading included, the line of dashes left out; ``\\|`` is no border."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def code(cell: str) -> str:
    """What stands between the first pair of backticks of *cell*."""
    found = re.search(r"`([^`]*)`", cell)
    return found[1] if found else ""
