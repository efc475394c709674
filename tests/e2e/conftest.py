"""One bed for all of these tests: the one that runs under the name $OVNLOOM_BED (default: loom)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ovnloom.sandbox.paths import default_cache
from ovnloom.sandbox.plan import Plan, load_plan
from tests.e2e.cluster import Cluster, namespace_spec

HERE = Path(__file__).parent


def running_bed() -> Plan | None:
    saved = load_plan(default_cache(), os.environ.get("OVNLOOM_BED") or "loom")
    return saved[0] if saved and "code" in saved[1] else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``family``: each address family that the bed has."""
    if "family" in metafunc.fixturenames:
        bed = running_bed()
        metafunc.parametrize("family", ["4", "6"] if bed and bed.dual else ["4"])


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    bed = running_bed()
    if bed is None:
        (pytest.fail if os.environ.get("CI_NO_SKIP") == "1" else pytest.skip)("no bed is up: ./loom up (its name in $OVNLOOM_BED)")
    found = Cluster(bed)
    found.steady()
    return found


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own; nobody waits for its end."""
    short = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:30].strip("-")
    name = f"e2e-{short}-{uuid4().hex[:5]}"
    cluster.create(namespace_spec(name))
    yield name
    cluster.delete("namespace", name, wait=False)


@pytest.fixture
def own_subnet(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Names for Subnets that go with the test, after the pods of *namespace* have gone."""
    names: list[str] = []

    def name() -> str:
        names.append(f"e2e-{uuid4().hex[:8]}")
        return names[-1]

    yield name
    for each in names:
        cluster.delete("subnet", each, wait=False)


@pytest.fixture(scope="session")
def record(cluster: Cluster) -> Callable[[str, object], None]:
    """Keeps figures that are measured and not judged, in ``figures.json`` of the bed's folder."""
    file = cluster.plan.folder / "figures.json"

    def keep(name: str, figure: object) -> None:
        figures = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(figures | {name: figure}, indent=1, sort_keys=True) + "\n")

    return keep
