"""`./loom bench`: `tests/bench/bench.py` around our controller, in a network namespace of its own, and its numbers as a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from rich.table import Table

from ovnloom.sandbox import build
from ovnloom.sandbox.command import MORTAL, CommandFailed, run, succeeds
from ovnloom.sandbox.paths import CHECKOUT
from ovnloom.sandbox.plan import Plan
from ovnloom.sandbox.progress import Board

DRIVER = CHECKOUT / "tests" / "bench" / "bench.py"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# The runs of a plain `./loom bench`: name -> the driver's arguments.
DEFAULT = {
    "one-subnet": ["burst", "--pods", "1000", "--subnets", "1"],
    "twenty-subnets": ["burst", "--pods", "1000", "--subnets", "20"],
}


def controller(log: str = "{home}/controller.log") -> str:
    """The command line the driver starts; {…} is filled in by it."""
    return f"{sys.executable} -P -m ovnloom.cli.main controller --kubeconfig={{kubeconfig}} --nb={{nb}} --sb={{sb}} --log={log}"


def bench(plan: Plan, board: Board, arguments: list[str], *, install: bool) -> bool:
    """Runs the driver with *arguments*, or the default runs; prints a table; returns whether no run had an error."""
    build.build_base(plan.cache, board, install=install)
    space = plan.space("bench")
    succeeds(["ip", "netns", "add", space])
    try:
        run(["ip", "-n", space, "link", "set", "lo", "up"])
        runs = {arguments[0]: arguments} if arguments else DEFAULT
        results = {name: drive(plan, board, name, words) for name, words in runs.items()}
    finally:
        succeeds(["ip", "netns", "del", space])
    board.console.print(table(results))
    return not any(result.get("error") for result in results.values())


def drive(plan: Plan, board: Board, name: str, words: list[str]) -> dict[str, Any]:
    """One run of the driver; its JSON, which stays in the cache. Raises ``CommandFailed`` when it leaves none."""
    folder = plan.cache.top / "bench"
    home, out, log = folder / "home", folder / f"{name}.json", folder / f"{name}.log"
    home.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    crds = sorted(map(str, CHECKOUT.glob("plugins/*/crds/*.yaml")))
    places = ["--home", str(home), "--bin", str(plan.bin), "--root", str((plan.cache.roots / "product").resolve()), "--out", str(out)]
    extra = ["--controller", controller(), "--logs", str(folder / f"{name}-logs"), "--crds", *crds]
    argv = [*MORTAL, "ip", "netns", "exec", plan.space("bench"), sys.executable, str(DRIVER), *words, *places, *extra]
    environment = {key: value for key, value in os.environ.items() if key not in ("POD_NAME", "POD_IP")}
    with board.live(), board.step(f"bench {' '.join(words)}", log), log.open("w") as sink:
        code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment, check=False).returncode
    if not out.exists():
        raise CommandFailed(argv, code, log.read_text())
    board.say(f"  {out}")
    result = json.loads(out.read_text())
    return dict(result)


def leaves(value: Any, path: str = "") -> dict[str, float | str]:
    """Every number and word of a JSON value, by its path with dots."""
    if isinstance(value, dict):
        found: dict[str, float | str] = {}
        for key, inner in value.items():
            found |= leaves(inner, f"{path}.{key}" if path else str(key))
        return found
    return {path: value} if isinstance(value, int | float | str) else {}


def summary(result: dict[str, Any]) -> dict[str, float | str]:
    """The numbers one asks for first, of a `burst`; those of the pods' removal too."""
    burst, erase = result["burst"], result["erase"]
    pods = burst["pods"]

    def writes(block: dict[str, Any]) -> float:
        calls = [[*call.split(), count] for call, count in block["api"].items()]
        return float(sum(count for verb, kind, count in calls if verb in WRITES and kind != "leases") / pods)

    return {
        "pods": pods,
        "pods per second": burst["pods_per_s"],
        "ms to allocated, half of the pods": burst["latency_ms"]["P1_allocated"]["p50"],
        "ms to allocated, 99 %": burst["latency_ms"]["P1_allocated"]["p99"],
        "NB transactions per pod": burst["nb"]["transactions"] / pods,
        "API writes per pod": writes(burst),
        "API writes per removed pod": writes(erase),
        "controller, CPU-seconds": burst["cpu_s"]["controller"],
        "controller, RSS in MB": burst["memory"]["rss_mb"],
    }


def table(results: dict[str, dict[str, Any]]) -> Table:
    """One row per number, one column per run. What has no summary is shown whole."""
    summarised = all("burst" in result and "erase" in result for result in results.values())
    flat = {name: summary(result) if summarised else leaves(result) for name, result in results.items()}
    view = Table("measure", *results)
    for path in dict.fromkeys(path for values in flat.values() for path in values):
        view.add_row(path.replace("[", r"\["), *(shown(values.get(path, "")) for values in flat.values()))
    return view


def shown(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
