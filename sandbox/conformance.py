"""Kubernetes' own end-to-end suite against the bed, and what came of it as a table."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ovnloom.sandbox.cluster import in_lan, kubernetes_environment
from ovnloom.sandbox.command import MORTAL, CommandFailed, merged_environment
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.progress import Board

CONFORMANCE = r"\[sig-network\].*\[Conformance\]"
BAD = frozenset({"failed", "panicked", "timedout", "aborted", "interrupted"})


@dataclass(frozen=True, slots=True)
class Spec:
    """One spec that was chosen to run. *seconds* is its run time, *reason* is why it failed or was skipped."""

    group: str
    name: str
    state: str
    seconds: float
    reason: str = ""

    @property
    def bad(self) -> bool:
        return self.state in BAD


def parse_report(text: str) -> list[Spec]:
    """The specs of ginkgo's JSON report that ran, or decided themselves not to. Raises ``ValueError`` for another text."""
    specs: list[Spec] = []
    for suite in json.loads(text):
        specs += [spec_of(report) for report in suite.get("SpecReports") or [] if counts(report)]
    return specs


def counts(report: dict[str, Any]) -> bool:
    """The focus leaves most specs out; ginkgo calls them skipped too, but gives no reason."""
    if report["LeafNodeType"] != "It":
        return bool(report["State"] in BAD)
    return report["State"] not in ("skipped", "pending") or bool((report.get("Failure") or {}).get("Message"))


def spec_of(report: dict[str, Any]) -> Spec:
    texts = report.get("ContainerHierarchyTexts") or []
    name = " ".join([*texts[1:], report["LeafNodeText"]]).strip() or report["LeafNodeType"]
    failure = report.get("Failure") or {}
    place = failure.get("Location") or {}
    reason = failure.get("Message", "").strip()
    if reason and place.get("FileName"):
        reason += f" ({Path(place['FileName']).name}:{place.get('LineNumber', 0)})"
    return Spec(texts[0] if texts else "suite", name, report["State"], report.get("RunTime", 0) / 1e9, reason)


def table(specs: Iterable[Spec]) -> Table:
    """Passed, failed and skipped specs per group."""
    rows: dict[str, Counter[str]] = {}
    for spec in specs:
        rows.setdefault(spec.group, Counter())["failed" if spec.bad else spec.state] += 1
    view = Table("group", "passed", "failed", "skipped", show_footer=False)
    total: Counter[str] = Counter()
    for group, states in sorted(rows.items()):
        total += states
        view.add_row(group.replace("[", r"\["), *(str(states[state]) for state in ("passed", "failed", "skipped")))
    view.add_section()
    view.add_row("in all", *(str(total[state]) for state in ("passed", "failed", "skipped")))
    return view


def run(plan: Plan, board: Board, focus: str, skip: str, procs: int) -> bool:
    """Runs the specs that match *focus*; prints the table; returns whether all passed. Results stay in the bed's folder.

    Raises ``CommandFailed`` when the suite did not get as far as a report.
    """
    folder = plan.folder / "e2e"
    folder.mkdir(exist_ok=True)
    report, log = folder / "report.json", folder / "log"
    report.unlink(missing_ok=True)
    chosen = [f"-focus={focus}", *([f"-skip={skip}"] if skip else [])]
    options = [f"-procs={procs}", "-silence-skips", "-no-color", "-timeout=60m", f"-output-dir={folder}", "-json-report=report.json"]
    suite = [
        f"-kubeconfig={plan.kubeconfig}",
        "-provider=local",
        f"-num-nodes={len(plan.nodes)}",
        "-disable-log-dump",
        f"-kubectl-path={plan.bin}/kubectl",
    ]
    argv = in_lan(plan, str(plan.bin / "ginkgo"), *options, *chosen, str(plan.bin / "e2e.test"), "--", *suite)
    with board.live(), board.step(f"specs that match {focus}", log), log.open("w") as sink:
        environment = merged_environment(kubernetes_environment(plan))
        code = subprocess.run([*MORTAL, *argv], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=folder, env=environment).returncode
    try:
        specs = parse_report(report.read_text())
    except (OSError, ValueError) as error:
        raise CommandFailed(argv, code, log.read_text()) from error
    show(board, specs)
    (folder / "results.json").write_text(json.dumps({"focus": focus, "specs": [asdict(spec) for spec in specs]}, indent=1) + "\n")
    board.say(f"results: {folder}/results.json, log: {log}")
    if not specs:
        board.say("no spec matches")
    return code == 0 and bool(specs) and not any(spec.bad for spec in specs)


def show(board: Board, specs: list[Spec]) -> None:
    board.console.print(table(specs))
    for spec in specs:
        if spec.bad or spec.state == "skipped":
            board.say(f"{spec.state}: {spec.group} {spec.name}\n    {spec.reason}")
