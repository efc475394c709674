"""A real bed of one node: `up` is idempotent, and `down` leaves nothing, whenever `up` was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ovnloom.sandbox import build, host, teardown
from ovnloom.sandbox.paths import CHECKOUT, default_cache
from ovnloom.sandbox.plan import Options, Plan, load_plan, make_plan

pytestmark = pytest.mark.node


def lacking() -> str:
    """Why a bed cannot be made here within seconds, or ""."""
    if os.geteuid():
        return "needs root"
    if packages := host.missing_packages():
        return f"needs the Debian packages {' '.join(packages)}"
    return "" if build.complete(default_cache()) else "needs what `./loom build` makes"


def loom(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-u", "-P", "-m", "ovnloom.sandbox", *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


@pytest.fixture
def plan() -> Iterator[Plan]:
    if reason := lacking():
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)(reason)
    made = make_plan(default_cache(), f"t{uuid4().hex[:8]}", Options(nodes=1))
    yield made
    teardown.down(made)


def seen(plan: Plan) -> list[str]:
    """Whatever on this machine bears the bed's name, found without the sandbox's own code."""
    found = []
    for argv in (["ip", "netns", "list"], ["runc", "list"], ["ps", "-eo", "stat,args"], ["find", "/sys/fs/cgroup", "-maxdepth", "2"]):
        lines = subprocess.run(argv, text=True, capture_output=True, check=False).stdout.splitlines()
        found += [line for line in lines if plan.name in line and not line.startswith("Z")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if plan.name in line]
    return found + [str(path) for path in plan.cache.beds.glob("*") if path.name == plan.name]


def finish(process: subprocess.Popen[str], seconds: float = 180) -> str:
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("after", ["certificates, networks", "control plane", "1 nodes registered"])
def test_nothing_is_left_of_a_killed_up(plan: Plan, after: str) -> None:
    starting = loom("up", "--bare", "--nodes", "1", "--name", plan.name)
    assert starting.stdout
    for line in starting.stdout:
        if after in line:
            break
    os.kill(starting.pid, signal.SIGKILL)
    starting.wait(10)
    assert seen(plan), "the kill came before anything was made"
    assert load_plan(plan.cache, plan.name) is None or after == "1 nodes registered"
    assert "left: nothing" in finish(loom("down", "--name", plan.name))
    assert seen(plan) == []


def test_up_after_a_killed_up_then_up_again_does_nothing(plan: Plan) -> None:
    words = ("up", "--bare", "--nodes", "1", "--name", plan.name)
    starting = loom(*words)
    assert starting.stdout
    next(line for line in starting.stdout if "certificates, networks" in line)
    os.kill(starting.pid, signal.SIGKILL)
    starting.wait(10)
    assert "is up after" in finish(loom(*words))
    before = subprocess.run(["runc", "list", "-f", "json"], text=True, capture_output=True, check=True).stdout
    assert "nothing to do" in finish(loom(*words), 30)
    assert subprocess.run(["runc", "list", "-f", "json"], text=True, capture_output=True, check=True).stdout == before
    refused = loom("up", "--bare", "--nodes", "2", "--name", plan.name)
    assert "runs with 1 nodes" in refused.communicate(timeout=30)[0] and refused.returncode == 1
    assert "left: nothing" in finish(loom("down", "--name", plan.name))
    assert seen(plan) == []


def test_down_of_nothing_is_no_error(plan: Plan) -> None:
    assert "left: nothing" in finish(loom("down", "--name", plan.name), 30)
