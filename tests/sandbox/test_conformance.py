"""Ginkgo's JSON report into specs and a table."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from ovnloom.sandbox.conformance import Spec, parse_report, table


def report(state: str, *, group: str = "[sig-network] DNS", text: str = "resolves", message: str = "", kind: str = "It") -> dict[str, Any]:
    failure = {"Message": message, "Location": {"FileName": "/x/dns.go", "LineNumber": 7}} if message else {}
    return {
        "ContainerHierarchyTexts": [group, "when asked"],
        "LeafNodeText": text,
        "LeafNodeType": kind,
        "State": state,
        "RunTime": 2_500_000_000,
        "Failure": failure,
    }


def parsed(*reports: dict[str, Any]) -> list[Spec]:
    return parse_report(json.dumps([{"SpecReports": list(reports)}, {"SpecReports": None}]))


def test_a_spec_has_group_name_seconds_and_reason() -> None:
    assert parsed(report("failed", message="no answer")) == [
        Spec("[sig-network] DNS", "when asked resolves", "failed", 2.5, "no answer (dns.go:7)")
    ]


def test_what_the_focus_leaves_out_is_not_a_skip() -> None:
    assert parsed(report("skipped"), report("pending")) == []
    assert [spec.state for spec in parsed(report("skipped", message="needs three nodes"))] == ["skipped"]


def test_a_failed_suite_set_up_is_shown() -> None:
    (spec,) = parsed({**report("failed", message="no nodes", kind="SynchronizedBeforeSuite", text=""), "ContainerHierarchyTexts": None})
    assert spec.bad and spec.group == "suite" and spec.name == "SynchronizedBeforeSuite"
    assert parsed(report("passed", kind="SynchronizedBeforeSuite")) == []


@pytest.mark.parametrize("state", ["failed", "panicked", "timedout", "aborted", "interrupted"])
def test_every_kind_of_failure_is_bad(state: str) -> None:
    assert parsed(report(state))[0].bad


def test_the_table_counts_by_group() -> None:
    specs = parsed(report("passed"), report("passed", group="[sig-network] Services"), report("timedout"), report("skipped", message="x"))
    console = Console(file=io.StringIO(), width=80)
    console.print(table(specs))
    assert isinstance(console.file, io.StringIO)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.file.getvalue().splitlines() if "│" in line]
    assert rows == [["[sig-network] DNS", "1", "1", "1"], ["[sig-network] Services", "1", "0", "0"], ["in all", "2", "1", "1"]]
