from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.kinds import PODS, Pod
from ovnloom.core.kube.objects import Kind
from ovnloom.core.kube.writer import NotLeader, Verdict, Writer
from tests.functional.apiserver import ApiServer
from tests.functional.kube.watching import Ears, make_pods, pod, pod_key, pods_of, running, until

pytestmark = pytest.mark.kube

ANNOTATED = {"metadata": {"annotations": {"ovn.kubernetes.io/allocated": "true"}}}
ANOTHER_UID = "00000000-0000-0000-0000-000000000000"


async def test_an_answer_is_in_the_cache_before_the_caller_goes_on(client: Client, namespace: str) -> None:
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    writer = Writer(client, {"pods": cache}, lambda: True)
    async with running(reflector):
        assert (await writer.create(PODS, pod(namespace, "a"))).ok
        made = cache.get(namespace, "a")
        assert made is not None
        written = await writer.patch(PODS, pod_key(namespace, "a"), ANNOTATED, uid=made.metadata.uid)
        assert written.ok
        patched = cache.get(namespace, "a")
        assert patched is not None and patched.metadata.annotations == {"ovn.kubernetes.io/allocated": "true"}
        await make_pods(client, namespace, "later")
        await until(lambda: cache.get(namespace, "later"))
    assert ears.names() == ["+a", "~a", "+later"]  # the watch's echoes are no news


async def test_a_change_that_an_answer_brings_along_is_told(client: Client, apiserver: ApiServer, namespace: str) -> None:
    """Somebody's label comes with the answer to our patch, and the event that would have brought it is then too old."""
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    await make_pods(client, namespace, "a")
    async with running(reflector):
        apiserver.request(
            "PATCH", PODS.path(namespace, "a"), {"metadata": {"labels": {"app": "web"}}}, content_type="application/merge-patch+json"
        )
        assert (await Writer(client, {"pods": cache}, lambda: True).patch(PODS, pod_key(namespace, "a"), ANNOTATED)).ok
        told = ears[-1].new
        assert told is not None and told.metadata.labels == {"app": "web"} and told.metadata.annotations


async def test_a_late_answer_does_not_bring_back_the_dead(client: Client, apiserver: ApiServer, namespace: str) -> None:
    cache, reflector = pods_of(namespace, client)
    await make_pods(client, namespace, "a")
    async with running(reflector):
        late = cache.get(namespace, "a")
        assert late is not None
        apiserver.request("DELETE", PODS.path(namespace, "a") + "?gracePeriodSeconds=0")
        await until(lambda: cache.get(namespace, "a") is None)
        assert not cache.upsert(late).changed
        assert cache.get(namespace, "a") is None


async def test_a_patch_is_for_one_object_only(client: Client, namespace: str) -> None:
    await make_pods(client, namespace, "a")
    writer = Writer(client, {}, lambda: True)
    key = pod_key(namespace, "a")
    assert (await writer.patch(PODS, key, ANNOTATED, uid=ANOTHER_UID)).verdict is Verdict.GONE
    assert (await writer.patch(PODS, key, ANNOTATED, resource_version="1")).verdict is Verdict.CONFLICT
    assert (await writer.patch(PODS, pod_key(namespace, "b"), ANNOTATED)).verdict is Verdict.GONE
    assert (await writer.delete(PODS, key, ANOTHER_UID)).verdict is Verdict.GONE
    body = await client.request("GET", PODS.path(namespace, "a"))
    assert b"ovn.kubernetes.io/allocated" not in body


async def test_what_the_server_does_not_accept_is_refused_with_its_words(client: Client, namespace: str) -> None:
    writer = Writer(client, {}, lambda: True)
    assert (await writer.create(PODS, pod(namespace, "a"))).ok
    assert (await writer.create(PODS, pod(namespace, "a"))).verdict is Verdict.CONFLICT
    too_long = {"metadata": {"annotations": {"x": "y" * 300_000}}}
    refused = await writer.patch(PODS, pod_key(namespace, "a"), too_long)
    assert refused.verdict is Verdict.REFUSED
    assert "may not be more than 262144 bytes" in refused.reason


async def test_status_is_patched_by_its_subresource(client: Client, namespace: str) -> None:
    cache, reflector = pods_of(namespace, client)
    await make_pods(client, namespace, "a")
    await reflector.refresh()
    writer = Writer(client, {"pods": cache}, lambda: True)
    assert (await writer.patch(PODS, pod_key(namespace, "a"), {"status": {"phase": "Running"}}, subresource="status")).ok
    patched = cache.get(namespace, "a")
    assert patched is not None and patched.status.phase == "Running"
    assert client.requests[Sent("patch", "pods/status")] == 1


async def test_without_the_right_to_write_nothing_is_sent(client: Client, namespace: str) -> None:
    writer = Writer(client, {}, lambda: False)
    for write in (
        writer.create(PODS, pod(namespace, "a")),
        writer.patch(PODS, pod_key(namespace, "a"), ANNOTATED),
        writer.delete(PODS, pod_key(namespace, "a"), ANOTHER_UID),
    ):
        with pytest.raises(NotLeader):
            await write
    assert not client.requests


async def test_a_write_that_waited_too_long_is_not_sent(client: Client, namespace: str) -> None:
    """The right is asked for when it is the write's turn, not when it was ordered."""
    allowed = True
    writer = Writer(client, {}, lambda: allowed)
    writes = [asyncio.create_task(writer.create(PODS, pod(namespace, f"p{n}"))) for n in range(40)]
    await until(lambda: client.writes == 16)
    allowed = False
    results: list[Any] = await asyncio.gather(*writes, return_exceptions=True)
    assert client.writes == 16
    assert sum(isinstance(result, NotLeader) for result in results) == 24


async def test_a_dead_server_is_a_reason_to_try_again(apiserver: ApiServer, namespace: str) -> None:
    async with Client.load(str(apiserver.kubeconfig)) as client:
        writer = Writer(client, {}, lambda: True)
        apiserver.stop("kube-apiserver")
        try:
            written = await writer.patch(PODS, pod_key(namespace, "a"), ANNOTATED)
        finally:
            apiserver.start("kube-apiserver")
    assert (written.verdict, written.after) == (Verdict.RETRY, 1.0)


async def test_a_selective_cache_takes_in_only_what_it_selects(client: Client, namespace: str) -> None:
    one: Kind[Pod] = Kind("", "v1", "pods", "Pod", Pod, field_selector="metadata.name=mine")
    cache: Cache[Pod] = Cache(one)
    writer = Writer(client, {"pods": cache}, lambda: True)
    assert (await writer.create(PODS, pod(namespace, "other"))).ok
    assert len(cache) == 0
