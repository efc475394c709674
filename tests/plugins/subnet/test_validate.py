"""What the recorded Subnets' author would hear, and which refusals differ from the recorded ones on purpose."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ovnloom.core.kube.kinds import Subnet
from ovnloom.plugins.subnet.validate import problems, unsupported

VECTORS = Path(__file__).parents[2] / "vectors" / "validate.jsonl.gz"

# Marked lines where we refuse what the recorded program lets pass; docs/ipam.md says why.
REFUSED = {
    "accepts_three_blocks",
    "accepts_bad_gateway",
    "accepts_bad_vip",
    "accepts_bad_u2o_ip",
    "accepts_mixed_exclude_range",
    "accepts_unknown_nat_action",
    "lenient_prefix",
    "mapped_ipv4",
}
# Sentences of ours where the recording has no mark, with the reason and how many Subnets hear only these.
UNMARKED = {
    "holds the address of the API server": "a Subnet that names no Vpc is in the default one",
    "holds two addresses of one family": "an egress gateway has one address of a family",
    "is the gateway; choose another address": "the gateway's address is refused in a pair, too",
}
ONLY_UNMARKED = 70


def recorded() -> list[dict[str, Any]]:
    with gzip.open(VECTORS, "rt") as lines:
        return [vector for vector in map(json.loads, lines) if vector["fn"] == "validate_subnet"]


def found(vector: dict[str, Any]) -> list[str]:
    subnet = msgspec.convert(vector["in"]["object"], Subnet)
    return problems(subnet, service_host=vector["in"]["service_host"], default_vpc="ovn-cluster")


def test_what_the_reference_refuses_is_refused() -> None:
    missed = [vector["id"] for vector in recorded() if "err" in vector and not found(vector)]
    assert not missed


def test_what_the_reference_accepts_is_accepted_but_for_the_deviations() -> None:
    vectors = recorded()
    refused = [v for v in vectors if "out" in v and v.get("quirk") not in REFUSED and found(v)]
    assert [v["id"] for v in refused if not all(any(words in p for words in UNMARKED) for p in found(v))] == []
    assert len(refused) == ONLY_UNMARKED


def test_each_deviation_shows() -> None:
    shown = {v["quirk"] for v in recorded() if "out" in v and v.get("quirk") and found(v)}
    assert shown >= REFUSED


def spec(**fields: object) -> list[str]:
    document = {"metadata": {"name": "blue"}, "spec": {"cidrBlock": "10.0.0.0/24", "gateway": "10.0.0.1", "vpc": "ovn-cluster", **fields}}
    return problems(msgspec.convert(document, Subnet), service_host="10.96.0.1", default_vpc="ovn-cluster")


FAULTS: list[tuple[dict[str, object], str]] = [
    ({"gateway": "10.0.1.1"}, "spec.gateway: 10.0.1.1 is not in spec.cidrBlock 10.0.0.0/24; choose an address inside it"),
    (
        {"gateway": "10.0.0.255"},
        "spec.gateway: 10.0.0.255 is the broadcast address of 10.0.0.0/24; choose one between its first and its last",
    ),
    (
        {"cidrBlock": "10.0.0.0/33"},
        "spec.cidrBlock: '10.0.0.0/33' is not a CIDR block; write it like 10.16.0.0/16 or ",
    ),
    ({"excludeIps": ["10.0.0.9..10.0.0.2"]}, "spec.excludeIps: '10.0.0.9..10.0.0.2' is neither an address nor a range; write it like "),
    ({"gatewayType": "x"}, "spec.gatewayType: 'x' is unknown; choose distributed or centralized"),
    ({"cidrBlock": "127.0.0.0/24", "gateway": "127.0.0.1"}, "spec.cidrBlock: 127.0.0.0/24 overlaps 127.0.0.0/8, loopback (RFC 1122); "),
    (
        {"cidrBlock": "10.96.0.0/12", "gateway": "10.96.0.9"},
        "spec.cidrBlock: 10.96.0.0/12 holds the address of the API server (10.96.0.1)",
    ),
    ({"vpc": "blue"}, "metadata.name: blue is the name of this Subnet's Vpc too; their switch and router need different names"),
]


@pytest.mark.parametrize(("fields", "sentence"), FAULTS)
def test_a_sentence_names_field_fault_and_fix(fields: dict[str, object], sentence: str) -> None:
    (found,) = spec(**fields)
    assert found.startswith(sentence)


def test_a_good_subnet_has_no_problem() -> None:
    assert spec() == []
    assert spec(cidrBlock="fd00::/112,10.0.0.0/24", gateway="fd00::1,10.0.0.1") == []


def test_all_faults_are_named_at_once() -> None:
    assert len(spec(gateway="x", gatewayType="y", mtu=9, cidrBlock="fd00::/64", protocol="z", vips=["q"], excludeIps=["e"])) == 6


def test_strange_text_is_quoted_and_cut() -> None:
    (sentence,) = spec(gateway="1\n" + "x" * 10_000)
    assert "\n" not in sentence and len(sentence) < 200


@pytest.mark.parametrize(
    "fields",
    [
        {"private": True},
        {"allowSubnets": ["10.1.0.0/24"]},
        {"gatewayType": "centralized"},
        {"vlan": "blue"},
        {"vips": ["10.0.0.9"]},
        {"externalEgressGateway": "192.168.0.1"},
        {"natOutgoingPolicyRules": [{"action": "nat"}]},
        {"logicalGateway": True},
        {"u2oInterconnection": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_nothing_would_honour_is_refused(fields: dict[str, object]) -> None:
    document = {"metadata": {"name": "blue"}, "spec": {"cidrBlock": "10.0.0.0/24", **fields}}
    [sentence] = unsupported(msgspec.convert(document, Subnet).spec)
    assert sentence.startswith(f"spec.{next(iter(fields))}: ")


def test_what_another_plugin_honours_is_not_refused() -> None:
    document = {"metadata": {"name": "blue"}, "spec": {"cidrBlock": "10.0.0.0/24", "private": True, "acls": [{"match": "ip"}]}}
    spec = msgspec.convert(document, Subnet).spec
    assert [sentence.split(":")[0] for sentence in unsupported(spec, {"Subnet.spec.private"})] == ["spec.acls"]


def test_what_is_honoured_is_not_refused() -> None:
    document = {"metadata": {"name": "blue"}, "spec": {"cidrBlock": "10.0.0.0/24", "gatewayType": "distributed", "natOutgoing": True}}
    assert not list(unsupported(msgspec.convert(document, Subnet).spec))
