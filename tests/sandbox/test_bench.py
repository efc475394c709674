"""The driver's JSON as a table: first numbers of a burst, everything of other scenarios."""

from __future__ import annotations

from typing import Any

from ovnloom.sandbox.bench import leaves, summary, table


def block(**api: int) -> dict[str, Any]:
    calls = {name.replace("_", " "): count for name, count in api.items()}
    return {
        "pods": 10,
        "pods_per_s": 5.0,
        "latency_ms": {"P1_allocated": {"p50": 2.0, "p99": 9.0}},
        "nb": {"transactions": 4},
        "api": calls,
        "cpu_s": {"controller": 0.5},
        "memory": {"rss_mb": 80.0},
    }


BURST = {"burst": block(PATCH_pods=10, POST_ips=10, PUT_leases=7, LIST_pods=3), "erase": block(DELETE_ips=10)}


def test_a_burst_is_summed_up_per_pod() -> None:
    made = summary(BURST)
    assert made["API writes per pod"] == 2.0, "neither leases nor reads count"
    assert made["API writes per removed pod"] == 1.0
    assert made["NB transactions per pod"] == 0.4


def test_a_table_has_a_column_per_run() -> None:
    view = table({"one": BURST, "twenty": BURST})
    assert [column.header for column in view.columns] == ["measure", "one", "twenty"]
    assert view.row_count == len(summary(BURST))


def test_other_scenarios_are_shown_whole() -> None:
    assert leaves({"a": {"b": 1, "c": [1, 2]}, "d": "x"}) == {"a.b": 1, "d": "x"}
    assert table({"grow": {"a": {"b": 1}}}).row_count == 1
