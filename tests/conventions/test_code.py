"""STYLE as tests: sizes, imports, words, numbers and names that are spelled once."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conventions import repository, rules

# Longer than a sitting, with the reason.
LONG_FILES = {"tests/bench/bench.py": "the driver is shared with other controllers; figures compare only while it stays the same"}

# Features that are plugins, or will be. Words of addressing (vpc is one: it is where a Subnet lives) and of Kubernetes are core's own,
# so `service` counts only where it is not one of the words below.
FEATURES = {
    "acl", "qos", "mirror", "speaker", "pinger", "underlay", "nat", "dnat", "snat", "eip", "bgp", "dhcp", "vip", "security", "policy",
    "service", "tproxy", "ipsec", "dns",
}  # fmt: skip
ALLOWED = {
    # fields of the Subnet kind: the API's names. Core reads none of them, it only decodes them
    "nat_outgoing", "nat_outgoing_policy_rules", "vips", "acls", "NatMatch", "NatRule", "SubnetAcl",
    # of the cluster's configuration: what a Service is given an address from
    "service_cidr",
    "restart_policy", "policy",  # a Pod's restartPolicy
    "NAMESPACE_DNS",  # of the standard library's uuid
}  # fmt: skip


def faults(found: dict[Path, list[str]]) -> str:
    return "\n".join(f"{path}: {fault}" for path, listed in sorted(found.items()) for fault in listed)


def test_files_fit_one_sitting() -> None:
    sources = [p for p in repository.files() if p.suffix in (".py", ".c", ".sh") or p.name == "loom"]
    long = {str(p): n for p in sources if (n := len(repository.text(p).splitlines())) > rules.FILE_LINES}
    assert long.keys() <= LONG_FILES.keys(), long
    assert long.keys() >= LONG_FILES.keys(), "an entry of LONG_FILES is short enough now: take it out"


def test_functions_fit_a_screen() -> None:
    found = {p: list(rules.long_functions(repository.tree(p))) for p in repository.python()}
    assert not faults(found), faults(found)


def test_imports_are_absolute() -> None:
    parts = set(repository.PARTS) - {"tests"}
    found = {p: list(rules.relative_imports(repository.tree(p), parts)) for p in repository.python()}
    assert not faults(found), faults(found)


# Started by name, or there for others' tests.
STARTED = {"ovnloom.core.testing", "ovnloom.cli.main", "ovnloom.agent.main"}


def test_no_module_lies_idle() -> None:
    """Each module of the product is imported by another one: what only its own test uses is deleted."""
    imported = set()
    for path in repository.python("core", "plugins", "agent", "cli", "cni", "sandbox"):
        for node in ast.walk(repository.tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    modules = {p: "ovnloom." + ".".join(p.with_suffix("").parts) for p in repository.python("core", "agent", "cli", "plugins")}
    entries = {f"ovnloom.plugins.{name}.{module}" for name in repository.plugins() for module in ("plugin", "agent")}
    idle = [str(p) for p, name in modules.items() if p.name != "__init__.py" and name not in imported | STARTED | entries]
    assert not idle, idle


def test_no_feature_has_its_name_in_core() -> None:
    features = FEATURES | (set(repository.plugins()) - {"subnet", "vpc", "node"})
    used = {name for p in repository.python("core") for name, _ in rules.identifiers(repository.tree(p))}
    assert used >= ALLOWED, f"no exception needed any more for {ALLOWED - used}"
    found = {p: list(rules.feature_names(repository.tree(p), features, ALLOWED)) for p in repository.python("core")}
    assert not faults(found), faults(found)


def test_keys_are_spelled_once() -> None:
    paths = [p for p in repository.python("core", "plugins", "agent", "cli") if p != Path("core/names.py")]
    found = {p: list(rules.spelled_keys(repository.tree(p))) for p in paths}
    assert not faults(found), faults(found)


def test_priorities_are_bands() -> None:
    taken: dict[tuple[str, int], str] = {}
    for path in repository.python("plugins"):
        for table, priority, owner in rules.bands(repository.tree(path)):
            assert owner == path.parts[1], f"{path}: the band belongs to {owner}"
            assert (table, priority) not in taken, f"{table} {priority} is {taken[table, priority]}'s already"
            taken[table, priority] = owner
    assert taken, "no plugin registers a band: this test looks in the wrong place"
    numbers = {priority for _, priority in taken}
    found = {p: list(rules.spelled_priorities(repository.tree(p), numbers)) for p in repository.python("plugins", "agent")}
    assert not faults(found), faults(found)


def test_metric_names() -> None:
    found = {p: list(rules.metric_names(repository.tree(p))) for p in repository.python("core", "plugins", "agent", "cli")}
    assert not faults(found), faults(found)


@pytest.mark.parametrize("path", [p for p in repository.files() if p.suffix not in (".gz", ".sum")], ids=str)
def test_nothing_of_one_machine(path: Path) -> None:
    if path.parts[:2] == ("tests", "conventions") and path.name in ("rules.py", "test_rules.py"):
        return
    found = list(rules.foreign_words((repository.ROOT / path).read_text(errors="replace")))
    assert not found, f"{path}: {found}"
