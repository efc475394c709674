"""The recorded traces, each played up to the first step where we chose to differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.core.ipam.traces import Player, traces

# What the recorded program does and we do not, with the reason. docs/ipam.md holds the same table; a test compares them.
DEVIATIONS = {
    "failed_static_drops_address": "a refused request changes nothing: the pod goes on using its address",
    "failed_static_partial": "a refused request changes nothing: nobody would ever give the address back",
    "failed_static_keeps_mac": "a refused request changes nothing: the MAC would conflict with nobody",
    "failed_random_drops_address": "a refused request changes nothing",
    "failed_random_skips_address": "a refused request changes nothing, the order of the free addresses neither",
    "failed_dual_reorders": "a refused request changes nothing, the order of the free addresses neither",
    "mac_change_leaks_old": "a port that changes its MAC gives the old one back",
    "requested_mac_ignored": "who asks for a MAC gets it or hears why not",
    "empty_mac_reallocation_leaks": "a port without MAC that asks for one keeps its address",
    "shared_address": "a shared address is free when its last holder gives it back, and two ports share one only without the check",
    "skip_exhaustion_is_conflict": "released addresses are looked at too, and the error says that nothing is free",
    "nil_address_string": "a missing address is not listed",
    "static_text_returned": "an address is always answered in its one usual spelling",
    "two_addresses_of_one_family": "asking for two addresses of one family is refused",
    "v6_first": "families are told apart by the address, not by its place",
    "three_blocks": "a CIDR of three blocks is refused",
    "pool_entry_ignored": "a pool entry that cannot be read is refused, whatever families the subnet has",
    "unusable_in_pool": "a pool that names the network or broadcast address does not make it usable",
    "duplicate_listing": "a port is listed once",
    "stale_family": "a subnet that loses a family loses its addresses and counters of that family",
    "low_ipv6_as_ipv4": "an IPv6 address is spelled as one, also below 2^32",
    "pool_fault_order": "of two faults in one pool the unreadable entry is named first",
}
# Steps where a difference shows that the recording does not mark.
UNMARKED = {"ipam-v00517": (6, "low_ipv6_as_ipv4"), "ipam-v00547": (63, "pool_fault_order")}
TRACES: list[dict[str, Any]] = list(traces())
STEPS_BEFORE_DEVIATIONS = 19_965


def first_deviation(trace: dict[str, Any]) -> int:
    marked: list[int] = [step for step, name in trace.get("quirks", ()) if name in DEVIATIONS]
    unmarked = [UNMARKED[trace["id"]][0]] if trace["id"] in UNMARKED else []
    return min([*marked, *unmarked, len(trace["out"])])


@pytest.mark.parametrize("trace", TRACES, ids=[trace["id"] for trace in TRACES])
def test_trace(trace: dict[str, Any]) -> None:
    player = Player()
    for index in range(first_deviation(trace)):
        step = trace["in"]["steps"][index]
        assert player.play(step) == trace["out"][index], f"step {index}: {step}"


def test_most_steps_are_played() -> None:
    assert sum(map(first_deviation, TRACES)) == STEPS_BEFORE_DEVIATIONS


def test_each_deviation_is_one_that_the_traces_know() -> None:
    names = {name for trace in TRACES for _, name in trace.get("quirks", ())}
    assert names | {name for _, name in UNMARKED.values()} == set(DEVIATIONS)


def test_the_page_lists_each_deviation_with_its_reason() -> None:
    page = (Path(__file__).parents[3] / "docs" / "ipam.md").read_text()
    missing = [name for name, reason in DEVIATIONS.items() if f"| `{name}` | {reason} |" not in page]
    assert not missing


def test_unmarked_differences_are_real() -> None:
    for trace in TRACES:
        if trace["id"] in UNMARKED:
            stop = UNMARKED[trace["id"]][0]
            player = Player()
            answers = [player.play(step) for step in trace["in"]["steps"][: stop + 1]]
            assert answers[stop] != trace["out"][stop]
