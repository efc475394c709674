"""What the code of this repository may not do, as functions from a piece of code to what is wrong in it.

Pure, so that ``test_rules.py`` can show each of them a piece that breaks it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from itertools import pairwise

FILE_LINES, FUNCTION_LINES, PLUGIN_LINES = 400, 50, 150
# Kube-OVN's own metrics keep their names; what it calls them starts with one of these.
METRIC_PREFIXES = ("ovnloom_", "kube_ovn_", "subnet_", "centralized_subnet_", "cni_", "ovn_", "pinger_", "ovs_")
# Prefixes of annotation and label keys: spelled in core/names.py and nowhere else.
KEY_PREFIXES = ("ovn.kubernetes.io/", "ovnloom.io/")
METRIC_CLASSES = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}


def long_functions(module: ast.Module, most: int = FUNCTION_LINES) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > most:
                yield f"{node.name} has {lines} lines, at most {most} fit"


def relative_imports(module: ast.Module, parts: Collection[str]) -> Iterator[str]:
    """Imports that are relative, or name a part without ``ovnloom.`` (tests apart, which are no part of the package)."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: a relative import; write ovnloom.…"
        names = (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        for name in names:
            if name.partition(".")[0] in parts:
                yield f"line {node.lineno}: import {name}; write ovnloom.{name}"  # type: ignore[attr-defined]  # imports have lines


def identifiers(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that the code gives or uses, with its line."""
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.lineno
            case ast.alias(name=name):
                yield from ((part, node.lineno) for part in name.split("."))


def words(name: str) -> set[str]:
    """``natOutgoing``, ``NAT_OUTGOING`` and ``nat_outgoing`` are nat and outgoing; ``setQoS`` holds qos: humps side by side are joined."""
    found: set[str] = set()
    for piece in name.split("_"):
        humps = [hump.lower() for hump in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", piece)]
        found |= {*humps, *(one + other for one, other in pairwise(humps))}
    return found


def feature_names(module: ast.Module, features: Collection[str], allowed: Collection[str] = ()) -> Iterator[str]:
    """Identifiers that hold the name of a feature as a word (or its plural)."""
    wanted = set(features) | {f"{feature}s" for feature in features}
    for name, line in identifiers(module):
        if name not in allowed and (found := words(name) & wanted):
            yield f"line {line}: {name} names the feature {', '.join(sorted(found))}"


def _docstrings(module: ast.Module) -> set[int]:
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
    }


def spelled_keys(module: ast.Module) -> Iterator[str]:
    """Text, docstrings apart, that spells the prefix of an annotation key."""
    docstrings = _docstrings(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            for prefix in KEY_PREFIXES:
                if prefix in node.value:
                    yield f"line {node.lineno}: {node.value!r}; take the key from core/names.py, or make it from ANNOTATION there"


def bands(module: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Table, priority and owner of each ``Band(table, name, priority, owner)``. Raises ``ValueError`` if one is not literal."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Band":
            try:
                table, _, priority, owner = (ast.literal_eval(argument) for argument in node.args)
            except ValueError as error:
                raise ValueError(f"line {node.lineno}: a Band is four literals: table, name, priority, owner") from error
            yield table, priority, owner


def spelled_priorities(module: ast.Module, taken: Collection[int]) -> Iterator[str]:
    """Numbers of bands outside their registration, and numbers given as a row's priority."""
    inside = {
        id(argument)
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Band"
        for argument in node.args
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in taken and id(node) not in inside:
            yield f"line {node.lineno}: {node.value} is the priority of a band; use the band"
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "priority" and isinstance(value, ast.Constant):
                    yield f"line {value.lineno}: priority {value.value!r} is spelled out; register a Band"


def metric_names(module: ast.Module) -> Iterator[str]:
    """Metrics whose name is no literal, or of no known prefix, or (counters) ends in ``_total``, which the client adds."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        if called.removesuffix("MetricFamily") not in METRIC_CLASSES or "collections" in ast.dump(node.func):
            continue
        if not node.args:
            continue
        name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if not isinstance(name, str):
            yield f"line {node.lineno}: the name of a metric is a literal"
        elif not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not name.startswith(METRIC_PREFIXES):
            yield f"line {node.lineno}: metric {name}; ours start with ovnloom_"


# Put together here, so that this file does not break its own rule.
_FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + "work/",
            r"(?<![\w.])/root/" + r"\.",
            "/tmp/" + "brief",
            r"\b(?:" + "chat" + "gpt|anth" + r"ropic|open" + r"ai)\b",
        )
    ),
    re.I,
)
_HOST = re.compile(r"https?://([A-Za-z0-9][A-Za-z0-9.-]*)")
# Hosts that anybody may name: documentation, examples of RFC 2606 and RFC 5737, a cluster's own. One without a dot is a test's.
HOSTS = (
    "kubernetes.default.svc.cluster.local", "127.0.0.1", "localhost", "192.0.2.1", "json-schema.org", "www.apache.org",
    "kubernetes.default.svc", "docs.pytest.org", "bford.info",
    "kubernetes.io", "github.com", "www.ovn.org", "docs.ovn.org", "docs.openvswitch.org", "www.cni.dev", "pkg.go.dev",
    "example.com", "example.org", "keepachangelog.com", "semver.org", "example",
)  # fmt: skip
_PRIVATE = re.compile(r"(?:10|172\.(?:1[6-9]|2\d|3[01])|192\.168)\.")  # RFC 1918


def foreign_words(text: str) -> Iterator[str]:
    """Paths of one machine, hosts that nobody else has, names of programs that have no place in a repository."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _FOREIGN.search(line):
            yield f"line {number}: {found[0]}"
        for host in _HOST.findall(line):
            if "." in host and not _PRIVATE.match(host) and not any(host == known or host.endswith("." + known) for known in HOSTS):
                yield f"line {number}: host {host} is not one that everybody has"


def fragment_faults(name: str, text: str) -> Iterator[str]:
    """What is wrong with a file of ``changelog.d/``."""
    if not re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", name):
        yield f"{name}: must be called <topic>.<added|changed|fixed|removed>.md"
    if not re.fullmatch(r"[A-Z`][^\n]*(\n[^\n]+)*\.\n", text) or len(text) > 400:
        yield f"{name}: must be one sentence that ends with a full stop"
