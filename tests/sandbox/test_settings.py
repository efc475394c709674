"""Configuration files and command lines: what the API server, kubelet and kube-proxy are told must agree."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from ovnloom.sandbox import container, images, install, pki, settings
from ovnloom.sandbox.paths import HERE, Cache
from ovnloom.sandbox.plan import DNS, Options, Plan, Stack, make_plan

STACKS: list[Stack] = ["ipv4", "dual"]


def plan_of(tmp_path: Path, stack: Stack = "dual") -> Plan:
    return make_plan(Cache(tmp_path), "loom", Options(nodes=2, stack=stack))


def flags(command: list[str]) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in command[1:] if "=" in word)


@pytest.mark.parametrize("stack", STACKS)
def test_everybody_is_told_the_same_ranges(tmp_path: Path, stack: Stack) -> None:
    plan = plan_of(tmp_path, stack)
    api, manager = flags(settings.apiserver_command(plan)), flags(settings.controller_manager_command(plan))
    proxy = json.loads(settings.kube_proxy(plan, "node1"))
    assert api["service-cluster-ip-range"] == manager["service-cluster-ip-range"] == plan.services
    assert manager["cluster-cidr"] == proxy["clusterCIDR"] == plan.pods
    assert flags(settings.kubelet_command(plan, "node2"))["node-ip"] == plan.addresses("node2")
    chart = install.values(plan)
    assert plan.pods in chart.values() and plan.services in chart.values()
    assert all(len(value.split(",")) == (2 if stack == "dual" else 1) for value in (plan.services, plan.pods))


def test_every_file_of_the_pki_that_a_command_names_is_made(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    made = {"ca.crt", "ca.key", "sa.key", "sa.pub"} | {f"{user}.kubeconfig" for user in [*pki.USERS, *plan.nodes]}
    made |= {f"{item.name}.{end}" for item in pki.certificates(plan) for end in ("crt", "key")}
    commands = [settings.apiserver_command(plan), settings.controller_manager_command(plan), settings.scheduler_command(plan)]
    named = {Path(value).name for command in commands for value in flags(command).values() if value.startswith(str(plan.pki))}
    assert len(named) > 8 and named <= made


def test_containerd_is_told_the_pause_image_that_is_built() -> None:
    cri = tomllib.loads(settings.CONTAINERD)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] in {image.name for image in images.support_images()}
    assert cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False


def test_kubelet_asks_the_dns_service_of_the_manifest() -> None:
    documents = list(yaml.safe_load_all((HERE / "manifests" / "coredns.yaml").read_text()))
    (service,) = [document for document in documents if document["kind"] == "Service"]
    assert json.loads(settings.kubelet("node1"))["clusterDNS"] == [service["spec"]["clusterIP"]] == [DNS]


def test_manifests_ask_for_images_that_are_built() -> None:
    text = "".join(path.read_text() for path in (HERE / "manifests").glob("*.yaml"))
    asked = set(re.findall(r"image: (\S+)", text))
    assert asked and asked <= {image.name for image in images.support_images()}


def test_one_test_pod_per_node_on_its_node(tmp_path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(install.manifests(plan_of(tmp_path))) if document["kind"] == "Pod"]
    assert [(pod["metadata"]["name"], pod["spec"]["nodeName"]) for pod in documents] == [("a1", "node1"), ("a2", "node2")]
    assert not Template("\n".join(map(str, documents))).get_identifiers()


def test_capabilities_come_by_their_numbers() -> None:
    assert container.capabilities("Name:\tx\nCapBnd:\t0000000000000001\n") == ["CAP_CHOWN"]
    assert container.capabilities("CapBnd:\t0000010000201000\n") == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
    assert len(container.capabilities("CapBnd:\t000001ffffffffff\n")) == 41


def mounts(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in specification["mounts"]}


def test_a_node_shares_what_pods_need_and_nothing_of_the_host_but_dev(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    machine = container.Machine(plan, "node2")
    made: dict[str, Any] = container.specification(machine, machine.folder / "containerd", tmp_path / "store" / "x", network=True)
    places = mounts(made)
    assert "rshared" in places["/run"]["options"] and "rshared" in places["/var/lib/kubelet"]["options"]
    assert "ro" in places["/store"]["options"] and "ro" in places["/usr/local/bin"]["options"]
    sources = {str(mount["source"]) for mount in places.values() if mount["type"] == "bind"}
    assert all(source == "/dev" or source.startswith(str(tmp_path)) for source in sources)
    kinds = {space["type"]: space.get("path") for space in made["linux"]["namespaces"]}
    assert kinds["network"] == "/run/netns/loom-node2" and {"pid", "mount", "uts", "ipc", "cgroup"} <= set(kinds)
    assert made["linux"]["cgroupsPath"] == "/ovnloom-loom/node2"
