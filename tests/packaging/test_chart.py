"""Names and labels are Kube-OVN's; wrong values are named; nobody has more rights than it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ovnloom.core import config, names
from ovnloom.core.kube import kinds
from tests.packaging.chart import Manifest, container, find, refused, render

WORKLOADS = {
    ("Deployment", "ovn-central"): "ovn-central",
    ("Deployment", "kube-ovn-controller"): "kube-ovn-controller",
    ("DaemonSet", "ovs-ovn"): "ovs",
    ("DaemonSet", "kube-ovn-cni"): "kube-ovn-cni",
}

# Last words of the roles whose rights are spelled out below; each further plugin's are its own test's.
CORE = {"ovn", "ovn-ovs", "kube-ovn-cni", "subnet", "vpc", "node"}


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return render()


def rights(manifests: list[Manifest], account: str) -> set[tuple[str, str, str]]:
    """(verb, resource, "" or "named" or the namespace) of a ServiceAccount, from core's bindings and those of the plugins in CORE."""
    found = set()
    for binding in manifests:
        if not binding["kind"].endswith("RoleBinding") or binding["subjects"][0]["name"] != account:
            continue
        if binding["metadata"]["name"].rpartition(":")[2] not in CORE:
            continue
        role = find(manifests, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for rule in role["rules"]:
            where = binding["metadata"].get("namespace", "") if "resourceNames" not in rule else "named"
            found |= {(verb, resource, where) for verb in rule["verbs"] for resource in rule["resources"]}
    return found


@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_workloads_have_kube_ovns_names(manifests: list[Manifest], kind: str, name: str) -> None:
    workload = find(manifests, kind, name)
    assert workload["metadata"]["namespace"] == "kube-system"
    assert workload["spec"]["selector"]["matchLabels"] == {"app": WORKLOADS[kind, name]}
    assert workload["spec"]["template"]["metadata"]["labels"]["app"] == WORKLOADS[kind, name]
    assert workload["spec"]["template"]["spec"]["hostNetwork"] is True


def test_services_select_the_leader(manifests: list[Manifest]) -> None:
    for name, port in (("ovn-nb", 6641), ("ovn-sb", 6642), ("ovn-northd", 6643)):
        spec = find(manifests, "Service", name)["spec"]
        assert spec["selector"] == {"app": "ovn-central", f"{name}-leader": "true"}
        assert [p["port"] for p in spec["ports"]] == [port]


def test_every_container_has_a_probe_and_requests(manifests: list[Manifest]) -> None:
    for kind, name in WORKLOADS:
        main = container(manifests, kind, name)
        assert main["resources"]["requests"].keys() == {"cpu", "memory"}
        assert main["readinessProbe"] and main["livenessProbe"]


def test_only_the_switch_is_privileged(manifests: list[Manifest]) -> None:
    for kind, name in WORKLOADS:
        pod = find(manifests, kind, name)["spec"]["template"]["spec"]
        for part in [*pod.get("initContainers", ()), *pod["containers"]]:
            context = part["securityContext"]
            if name == "ovs-ovn":
                assert context == {"privileged": True}
                assert pod["automountServiceAccountToken"] is False  # and it has nothing to say to the API server
                continue
            assert context["capabilities"]["drop"] == ["ALL"] and context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False and "privileged" not in context
    assert find(manifests, "Deployment", "kube-ovn-controller")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert "add" not in container(manifests, "Deployment", "kube-ovn-controller")["securityContext"]["capabilities"]


def test_no_wildcards_and_no_secrets(manifests: list[Manifest]) -> None:
    roles = [m for m in manifests if m["kind"] in ("Role", "ClusterRole")]
    assert roles
    for role in roles:
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"], *rule.get("resourceNames", ())]
            assert "*" not in words, role["metadata"]["name"]
            assert not {"secrets", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


def test_rights_of_the_controller(manifests: list[Manifest]) -> None:
    read = {"get", "list", "watch"}
    expected = {(v, r, "") for r in ("pods", "nodes", "namespaces", "statefulsets", "subnets", "vpcs", "ips") for v in read}
    expected |= {
        ("patch", r, "") for r in ("pods", "nodes", "namespaces", "subnets", "subnets/status", "vpcs", "vpcs/status", "ips", "events")
    }
    expected |= {("create", r, "") for r in ("subnets", "vpcs", "ips", "events")} | {("delete", "ips", "")}
    expected |= {("create", "leases", "kube-system"), *((v, "leases", "named") for v in (*read, "patch"))}
    assert rights(manifests, "ovn") == expected


def test_rights_of_the_agent(manifests: list[Manifest]) -> None:
    expected = {(v, r, "") for r in ("pods", "nodes", "subnets", "ips") for v in ("get", "list", "watch")}
    assert rights(manifests, "kube-ovn-cni") == expected | {("patch", "nodes", ""), ("create", "events", ""), ("patch", "events", "")}


def test_rights_of_ovn_central(manifests: list[Manifest]) -> None:
    assert rights(manifests, "ovn-ovs") == {("get", "pods", "kube-system"), ("patch", "pods", "kube-system")}


def test_the_lease_is_the_one_the_controller_runs_for(manifests: list[Manifest]) -> None:
    rules = find(manifests, "Role", "system:ovn")["rules"]
    assert [rule.get("resourceNames") for rule in rules] == [None, [names.CONTROLLER]]


def test_raft_of_three() -> None:
    manifests = render(MASTER_NODES="10.0.0.1, fd00::2 ,10.0.0.3")
    assert find(manifests, "Deployment", "ovn-central")["spec"]["replicas"] == 3
    controller = container(manifests, "Deployment", "kube-ovn-controller")
    assert "--nb=ssl:10.0.0.1:6641,ssl:[fd00::2]:6641,ssl:10.0.0.3:6641" in controller["command"]


def test_tls_can_be_turned_off() -> None:
    manifests = render(networking={"ENABLE_SSL": False})
    assert not [m for m in manifests if m["kind"] == "Secret"]
    command = container(manifests, "Deployment", "kube-ovn-controller")["command"]
    assert "--nb=tcp:10.0.0.1:6641" in command and not [word for word in command if "tls" in word]


@pytest.mark.parametrize("stack", ["ipv4", "ipv6", "dual_stack"])
def test_the_configuration_is_one_that_loads(stack: str, tmp_path: Path) -> None:
    manifests = render(networking={"NET_STACK": stack}, config={"plugins": ["vpc", {"subnet": {"excludeIps": ["10.16.0.9"]}}, "node"]})
    file = tmp_path / "ovnloom.yaml"
    file.write_text(find(manifests, "ConfigMap", "ovnloom-config")["data"]["ovnloom.yaml"])
    loaded = config.load(file)
    sections = loaded.sections()
    assert list(sections) == ["vpc", "subnet", "node"]
    assert sections["subnet"]["excludeIps"] == ["10.16.0.9"]
    expected = {"ipv4": 1, "ipv6": 1, "dual_stack": 2}[stack]
    assert [len(s.split(",")) for s in (sections["subnet"]["cidr"], sections["node"]["cidr"], loaded.cluster.service_cidr)] == [
        expected
    ] * 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"networking": {"IFCE": "eth1"}}, "'IFCE' not allowed"),
        ({"networking": {"NET_STACK": "dual"}}, "must be one of 'ipv4', 'ipv6', 'dual_stack'"),
        ({"networking": {"DATAPATH_TYPE": "netdev"}}, "/networking/IFACE"),
        ({"networking": {"ENABLE_SSL": "yes"}}, "/networking/ENABLE_SSL"),
        ({"ipv4": {"POD_CIDR": "10.16.0.0"}}, "/ipv4/POD_CIDR"),
        ({"dual_stack": {"JOIN_CIDR": "100.64.0.0/16"}}, "/dual_stack/JOIN_CIDR"),
        ({"config": {"plugins": []}}, "/config/plugins"),
        ({"config": {"plugins": ["vpc", {"subnet": {}, "node": {}}]}}, "/config/plugins/1"),
        ({"kube-ovn-controller": {"replicas": -1}}, "/kube-ovn-controller/replicas"),
        ({"ovn-central": {"requests": {"cpu": "much"}}}, "/ovn-central/requests/cpu"),
        ({"MASTER_NODES": "node1"}, "/MASTER_NODES"),
        ({"MASTER_NODES": "10.0.0.1,10.0.0.2"}, "needs an odd number"),
        ({"MASTER_NODES": ""}, "no node carries the label kube-ovn/role=master"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], words: str) -> None:
    assert words in refused(**values)


COLUMNS = {
    "subnets": "Provider Vpc Vlan Protocol CIDR Private NAT Default GatewayType "
    "V4Used V4Available V6Used V6Available ExcludeIPs U2OInterconnectionIP",
    "ips": "V4IP V6IP Mac Node Subnet",
    "vpcs": "EnableExternal EnableBfd Standby Subnets ExtraExternalSubnets Namespaces DefaultSubnet Age",
}


@pytest.mark.parametrize("plural", COLUMNS)
def test_crds_are_kube_ovns_and_are_kept(manifests: list[Manifest], plural: str) -> None:
    crd = find(manifests, "CustomResourceDefinition", f"{plural}.kubeovn.io")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    version = crd["spec"]["versions"][0]
    assert [c["name"] for c in version["additionalPrinterColumns"]] == COLUMNS[plural].split()
    assert ("status" in version.get("subresources", {})) is (plural != "ips")


def test_a_field_that_the_code_reads_is_in_the_schema(manifests: list[Manifest]) -> None:
    for kind, spec in ((kinds.SUBNETS, kinds.SubnetSpec), (kinds.IPS, kinds.IpSpec)):
        crd = find(manifests, "CustomResourceDefinition", f"{kind.plural}.kubeovn.io")
        known = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        assert set(spec.__struct_encode_fields__) <= set(known)


def test_counters_are_numbers(manifests: list[Manifest]) -> None:
    crd = find(manifests, "CustomResourceDefinition", "subnets.kubeovn.io")
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert {status[f"v{family}{what}IPs"]["type"] for family in "46" for what in ("available", "using")} == {"number"}


def test_values_are_documented_by_the_schema(manifests: list[Manifest]) -> None:
    """Every default of values.yaml passes the schema, or no chart would render; and the capitals are Kube-OVN's or ours on purpose."""
    values = yaml.safe_load((Path(__file__).resolve().parents[2] / "deploy/chart/values.yaml").read_text())
    ours = {"DATAPATH_TYPE", "ELECTION_TIMER", "OVN_SB_PROBE_INTERVAL"}
    reference = {
        "NET_STACK", "ENABLE_SSL", "IFACE", "TUNNEL_TYPE", "PROBE_INTERVAL", "OVN_NORTHD_PROBE_INTERVAL", "OVN_NORTHD_N_THREADS",
        "OVN_REMOTE_PROBE_INTERVAL", "OVN_REMOTE_OPENFLOW_INTERVAL",
    }  # fmt: skip
    assert set(values["networking"]) == reference | ours
