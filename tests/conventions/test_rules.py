"""Each rule sees what breaks it, and lets pass what does not: a convention test that cannot fail would be worth nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

import pytest

from tests.conventions import rules

LONG = "def f():\n" + "    a = 1\n" * 50
Rule = Callable[[ast.Module], Iterable[object]]


def imports(module: ast.Module) -> Iterable[str]:
    return rules.relative_imports(module, ("core", "plugins"))


def features(module: ast.Module) -> Iterable[str]:
    return rules.feature_names(module, {"qos", "mirror"}, {"qos_rules"})


def priorities(module: ast.Module) -> Iterable[str]:
    return rules.spelled_priorities(module, {31000})


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        (rules.long_functions, LONG, LONG.replace("    a = 1\n", "", 1)),
        (imports, "from . import x", "from ovnloom.core import x"),
        (imports, "import core.x", "import corex"),
        (imports, "from plugins.a import b", "from ovnloom.plugins.a import b"),
        (features, "def qos_of(a): ...", "def of(quos_x): 'about qos'"),
        (features, "class PodMirror: ...", "class Mirrored: ..."),
        (features, "f(mirrors=1)", "f(table='QoS')"),
        (features, "a.setQoSRate", "a.qos_rules"),
        (rules.spelled_keys, "A = 'ovn.kubernetes.io/x'", "'''ovn.kubernetes.io/x'''"),
        (rules.spelled_keys, "A = f'ovnloom.io/{x}'", "A = ANNOTATION + 'x'"),
        (priorities, "A = 31000", "A = Band('T', 'n', 31000, 'o')"),
        (priorities, "Row('T', {'priority': 5})", "Row('T', {'priority': BAND.priority})"),
        (rules.metric_names, "Counter('pods', '')", "Counter('ovnloom_pods', '')"),
        (rules.metric_names, "prometheus_client.Gauge(f'ovnloom_{x}', '')", "Gauge('subnet_used_ip_count', '')"),
        (rules.metric_names, "GaugeMetricFamily('Ovnloom_x', '')", "collections.Counter('abc')"),
    ],
)
def test_rules(rule: Rule, bad: str, good: str) -> None:
    assert list(rule(ast.parse(bad)))
    assert not list(rule(ast.parse(good)))


def test_bands_are_literal() -> None:
    assert list(rules.bands(ast.parse("register(Band('T', 'n', 5, 'o'))"))) == [("T", 5, "o")]
    with pytest.raises(ValueError, match="four literals"):
        list(rules.bands(ast.parse("register(Band('T', 'n', number, 'o'))")))


@pytest.mark.parametrize("line", ["see /" + "work/x", "cat /root/" + ".cache/x", "pip http://pypi" + ".corp.internal/simple"])
def test_foreign_words(line: str) -> None:
    assert list(rules.foreign_words(line))


def test_known_words() -> None:
    assert not list(rules.foreign_words("the network's /path/of/x, https://github.com/ovn-org/ovn and http://127.0.0.1:8080"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("note.md", "A.\n"), ("a.added.md", "no capital.\n"), ("a.added.md", "No full stop\n"), ("a.added.md", "Two.\n\nParts.\n")],
)
def test_bad_fragments(name: str, text: str) -> None:
    assert list(rules.fragment_faults(name, text))


def test_good_fragment() -> None:
    assert not list(rules.fragment_faults("a-b.fixed.md", "Something works\nagain.\n"))
