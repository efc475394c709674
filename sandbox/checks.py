"""`./loom test`: the linters, and pytest with what each kind of test needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from ovnloom.sandbox import bed, build
from ovnloom.sandbox.paths import CHECKOUT
from ovnloom.sandbox.plan import Plan, load_plan
from ovnloom.sandbox.progress import Board

Kind = Literal["fast", "ovn", "node", "e2e", "all"]
# pytest's -m for each kind. `kube` tests are real API servers: they need programs as the `ovn` ones do.
MARKS: dict[Kind, str] = {
    "fast": "not ovn and not kube and not node and not e2e",
    "ovn": "(ovn or kube) and not node and not e2e",
    "node": "node and not e2e",
    "e2e": "e2e",
    "all": "",
}
LINTERS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy"]),
    ("lint-imports", ["lint-imports"]),
    ("codespell", ["codespell"]),
)


def environment(plan: Plan) -> dict[str, str]:
    """What tests are told: where programs and root folders are, which bed there is."""
    told = {
        "OVNLOOM_CACHE": str(plan.cache.top),
        "OVNLOOM_BIN": str(plan.bin),
        "OVNLOOM_OVN_ROOT": str(plan.cache.roots / "product"),
        "OVNLOOM_BED": plan.name,
        "KUBECONFIG": str(plan.kubeconfig),
    }
    if os.environ.get("CI") == "true":
        told["CI_NO_SKIP"] = "1"
    return told


def prepare(plan: Plan, board: Board, kind: Kind, *, install: bool) -> Plan:
    """Makes what *kind* needs, and no more. Returns the bed as it runs."""
    if kind in ("ovn", "node"):
        build.build_base(plan.cache, board, install=install)
    if kind in ("e2e", "all"):
        saved = load_plan(plan.cache, plan.name)
        if saved and saved[1].get("bare") == "no":
            plan = saved[0]
        bed.up(plan, board, install_packages=install, bare=False)
    return plan


def lint(board: Board) -> list[str]:
    """Runs the linters; prints what they say when they complain; returns the names of those that did."""
    failed = []
    for name, argv in LINTERS:
        done = subprocess.run([Path(sys.executable).parent / argv[0], *argv[1:]], cwd=CHECKOUT, text=True, capture_output=True, check=False)
        board.say(f"{name}: {'ok' if done.returncode == 0 else 'FAILED'}")
        if done.returncode:
            failed.append(name)
            board.say((done.stdout + done.stderr).strip())
    return failed


def run(plan: Plan, board: Board, kind: Kind, arguments: list[str], *, install: bool) -> int:
    """Runs tests of *kind*; *arguments* go to pytest. Returns the exit code: pytest's, or 1 for a linter's complaint."""
    complaints = lint(board) if kind == "all" else []
    plan = prepare(plan, board, kind, install=install)
    chosen = ["-m", MARKS[kind]] if MARKS[kind] else []
    sys.stdout.flush()
    argv = [sys.executable, "-m", "pytest", *chosen, *arguments]
    code = subprocess.run(argv, cwd=CHECKOUT, env={**os.environ, **environment(plan)}, check=False).returncode
    if complaints:
        print(f"complaints of: {', '.join(complaints)}", file=sys.stderr)
    return code or (1 if complaints else 0)
