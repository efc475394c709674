from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ovnloom.core.kube import events
from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.events import EVENTS, Events
from ovnloom.core.kube.kinds import PODS, SUBNETS, Pod, Subnet
from ovnloom.core.kube.objects import Metadata
from ovnloom.core.kube.writer import Writer
from tests.functional.kube.watching import make_pods, pods_of, until

pytestmark = pytest.mark.kube

CREATE, PATCH = Sent("create", "events"), Sent("patch", "events")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def a_pod(client: Client, namespace: str) -> Pod:
    await make_pods(client, namespace, "a")
    cache, reflector = pods_of(namespace, client)
    await reflector.refresh()
    found = cache.get(namespace, "a")
    assert found is not None
    return found


async def stored(client: Client, namespace: str) -> list[dict[str, Any]]:
    return list(json.loads(await client.request("GET", EVENTS.path(namespace)))["items"])


@asynccontextmanager
async def written(told: Events) -> AsyncIterator[None]:
    task = asyncio.create_task(told.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # raises what it died of


async def test_the_same_sentence_is_one_event_with_a_count(client: Client, namespace: str) -> None:
    pod = await a_pod(client, namespace)
    clock = Clock()
    told = Events(Writer(client, {}, lambda: True), "kube-ovn-controller", clock=clock)
    async with written(told):
        for _ in range(100):
            told.warn(PODS, pod, "AcquireAddressFailed", "no address left in Subnet ovn-default")
        await until(lambda: client.requests[CREATE])
        for seconds, patches in ((30, 0), (61, 1), (62, 1)):
            clock.now = seconds
            told.warn(PODS, pod, "AcquireAddressFailed", "no address left in Subnet ovn-default")
            await asyncio.sleep(0.1)
            assert client.requests[PATCH] == patches
    [event] = await stored(client, namespace)
    assert (client.requests[CREATE], client.requests[PATCH]) == (1, 1)
    assert event["message"] == "no address left in Subnet ovn-default"
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "AcquireAddressFailed", 102)
    assert event["involvedObject"]["uid"] == pod.metadata.uid
    assert event["source"]["component"] == event["reportingComponent"] == "kube-ovn-controller"


async def test_an_event_that_expired_is_written_again(client: Client, namespace: str) -> None:
    pod = await a_pod(client, namespace)
    clock = Clock()
    told = Events(Writer(client, {}, lambda: True), "kube-ovn-controller", clock=clock)
    async with written(told):
        told.warn(PODS, pod, "Invalid", "it is wrong")
        await until(lambda: client.requests[CREATE] == 1)
        await until(lambda: not told._waiting)
        [event] = await stored(client, namespace)
        await client.request("DELETE", EVENTS.path(namespace, event["metadata"]["name"]))
        clock.now = 3700
        told.warn(PODS, pod, "Invalid", "it is wrong")
        await until(lambda: client.requests[CREATE] == 2)
        for _ in range(200):  # the request is counted when it is sent
            if events := await stored(client, namespace):
                break
            await asyncio.sleep(0.05)
    assert len(events) == 1


async def test_hostile_text_arrives_tamed(client: Client, namespace: str) -> None:
    pod = await a_pod(client, namespace)
    told = Events(Writer(client, {}, lambda: True), "kube-ovn-controller")
    async with written(told):
        told.warn(PODS, pod, "Invalid", 'ip_address is "\x1b[31m\u202egnorw\n\x00\ud800", ' + "é" * 10_000)
        await until(lambda: client.requests[CREATE])
        await asyncio.sleep(0.1)
    [event] = await stored(client, namespace)
    assert event["message"].startswith('ip_address is " [31m gnorw ", éé')
    assert len(event["message"].encode()) <= events.MESSAGE_BYTES


async def test_one_object_cannot_flood(client: Client, namespace: str) -> None:
    pod = await a_pod(client, namespace)
    clock = Clock()
    told = Events(Writer(client, {}, lambda: True), "kube-ovn-controller", clock=clock)
    async with written(told):
        for n in range(50):
            told.warn(PODS, pod, "Invalid", f"wrong in way {n}")
        await until(lambda: client.requests[CREATE] == events.BURST)
        clock.now = events.REFILL
        told.warn(PODS, pod, "Invalid", "wrong once more")
        told.warn(PODS, pod, "Invalid", "and once more")
        await until(lambda: client.requests[CREATE] > events.BURST)
        await asyncio.sleep(0.1)
    assert len(await stored(client, namespace)) == events.BURST + 1
    assert told.dropped == 50 - events.BURST + 1


async def test_an_object_without_namespace_has_its_events_in_default(client: Client) -> None:
    told = Events(Writer(client, {}, lambda: True), "kube-ovn-controller")
    name = "s" * 253
    async with written(told):
        told.warn(SUBNETS, Subnet(metadata=Metadata(name=name, uid="u-1")), "Invalid", "cidrBlock overlaps")
        await until(lambda: client.requests[CREATE])
        await asyncio.sleep(0.1)
    found = [event for event in await stored(client, "default") if event["involvedObject"]["name"] == name]
    assert [event["message"] for event in found] == ["cidrBlock overlaps"]
    assert len(found[0]["metadata"]["name"]) <= 253  # the server itself does not look


async def test_a_deposed_leader_says_nothing_and_goes_on(client: Client, namespace: str) -> None:
    pod = await a_pod(client, namespace)
    client.requests.clear()
    leads = False
    told = Events(Writer(client, {}, lambda: leads), "kube-ovn-controller")
    async with written(told):
        told.warn(PODS, pod, "Invalid", "while deposed")
        await asyncio.sleep(0.05)
        assert not client.requests
        leads = True
        told.warn(PODS, pod, "Invalid", "while leading")
        await until(lambda: client.requests[CREATE])
