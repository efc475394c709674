"""The scripts of the image are sound shell, and the image has what the chart calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.box import SCRIPTS
from tests.packaging.chart import render

SHELL = sorted(SCRIPTS.glob("*.sh"))
IMAGE = SCRIPTS.parent


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("not found: shellcheck")
    done = subprocess.run(["shellcheck", "-S", "warning", "-x", *map(str, SHELL)], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_chart_calls_is_in_the_image_and_can_be_run() -> None:
    called = set()
    for manifest in render():
        pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
        for part in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
            for probe in (part, part.get("readinessProbe", {}).get("exec", {}), part.get("livenessProbe", {}).get("exec", {})):
                called |= {word for word in probe.get("command", ()) if word.startswith("/kube-ovn/")}
    assert len(called) == 8
    for word in called:
        assert os.access(SCRIPTS / Path(word).name, os.X_OK), word


def test_the_last_layer_is_the_source_alone() -> None:
    lines = [line for line in (IMAGE / "Dockerfile").read_text().splitlines() if line and not line.startswith(("#", " "))]
    assert lines[-1] == "COPY --from=sources /src/ /opt/ovnloom/src/"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    return source, target


def install(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CNI_SOURCE": str(source), "CNI_BIN_DIR": str(target)}
    return subprocess.run([str(SCRIPTS / "install-cni.sh")], env=environment, capture_output=True, text=True, check=False)


def test_the_shim_of_this_machine_is_installed(folders: tuple[Path, Path]) -> None:
    source, target = folders
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "other")
    for name in (f"kube-ovn-{architecture}", "kube-ovn.py", "portmap"):
        (source / name).write_text(name)
    assert install(source, target).returncode == 0
    assert (target / "kube-ovn").read_text() == f"kube-ovn-{architecture}"
    assert os.access(target / "kube-ovn", os.X_OK)
    (target / "portmap").write_text("the node's own")
    (source / f"kube-ovn-{architecture}").unlink()
    assert install(source, target).returncode == 0
    assert (target / "kube-ovn").read_text() == "kube-ovn.py"  # the twin, where there is no binary
    assert (target / "portmap").read_text() == "the node's own"
    assert sorted(path.name for path in target.iterdir()) == ["kube-ovn", "portmap"]


def test_no_shim_is_an_error(folders: tuple[Path, Path]) -> None:
    done = install(*folders)
    assert done.returncode == 1 and "no CNI binary for" in done.stderr
