from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import structlog

from ovnloom.core.kube import crds
from ovnloom.core.kube.cache import Cache
from ovnloom.core.kube.client import Client, Sent
from ovnloom.core.kube.kinds import NODES, PODS
from ovnloom.core.kube.objects import Kind, Object
from ovnloom.core.kube.reflector import Reflector
from tests.functional.apiserver import ApiServer
from tests.functional.kube.watching import Ears, make_pods, pod, pod_key, pods_of, running, until

pytestmark = pytest.mark.kube

LIST, WATCH = Sent("list", "pods"), Sent("watch", "pods")
MERGE = "application/merge-patch+json"


async def test_a_large_collection_comes_in_pages(client: Client, namespace: str) -> None:
    await make_pods(client, namespace, *(f"p{n}" for n in range(2000)))
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    async with running(reflector):
        assert len(cache) == len(ears) == 2000
        assert client.requests[LIST] == 4
        await make_pods(client, namespace, "late")
        await until(lambda: cache.get(namespace, "late"))
    assert (client.requests[LIST], client.requests[WATCH]) == (4, 1)


async def test_only_changes_of_what_is_read_are_told(client: Client, apiserver: ApiServer, namespace: str) -> None:
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    async with running(reflector):
        await make_pods(client, namespace, "a")
        await until(lambda: ears.names() == ["+a"])
        before = cache.resource_version
        apiserver.request("PATCH", PODS.path(namespace, "a"), {"spec": {"activeDeadlineSeconds": 100}}, content_type=MERGE)
        await until(lambda: cache.resource_version > before)
        assert ears.names() == ["+a"]
        apiserver.request("PATCH", PODS.path(namespace, "a"), {"metadata": {"labels": {"app": "web"}}}, content_type=MERGE)
        await until(lambda: len(ears) == 2)
        apiserver.request("DELETE", PODS.path(namespace, "a") + "?gracePeriodSeconds=0")
        await until(lambda: ears.names()[-1] == "-a")
    assert ears.names()[:2] == ["+a", "~a"]
    assert ears[1].new is not None and ears[1].new.metadata.labels == {"app": "web"}
    assert len(cache) == 0


async def test_bookmarks_move_an_idle_watch_forward(client: Client, namespace: str, apiserver: ApiServer) -> None:
    cache, reflector = pods_of(namespace, client, watch_seconds=5)  # the server sends one two seconds before the end
    elsewhere = apiserver.namespace(f"{namespace}-elsewhere")
    async with running(reflector):
        began = cache.resource_version
        await make_pods(client, elsewhere, "a", "b")
        await until(lambda: cache.resource_version > began)
        await until(lambda: client.requests[WATCH] == 2)
        assert (client.requests[LIST], len(cache)) == (1, 0)


async def test_a_version_that_is_too_old_leads_to_a_new_list(client: Client, apiserver: ApiServer, namespace: str) -> None:
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    await make_pods(client, namespace, "stays", "goes")
    async with running(reflector):
        pass
    apiserver.request("DELETE", PODS.path(namespace, "goes") + "?gracePeriodSeconds=0")
    apiserver.stop("kube-apiserver")
    apiserver.start("kube-apiserver")  # it remembers nothing from before
    ears.clear()
    cache.resource_version = 1
    async with running(reflector):
        await until(lambda: ears)
        assert ears.names() == ["-goes"]
        assert client.requests[LIST] == 2
        await make_pods(client, namespace, "new")
        await until(lambda: ears.names() == ["-goes", "+new"])


class Compacting(Client):
    """Has the history thrown away once, between the first page of a list and the second."""

    history: ApiServer

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        answer = await super().request(method, path, **options)
        if self.requests == {LIST: 1}:
            self.history.request("DELETE", path + "/p0?gracePeriodSeconds=0")
            self.history.stop("kube-apiserver")  # which keeps snapshots of its own
            self.history.start("kube-apiserver")
            self.history.compact()
        return answer


async def test_a_list_whose_pages_expire_begins_again(client: Client, apiserver: ApiServer, namespace: str) -> None:
    await make_pods(client, namespace, *(f"p{n}" for n in range(4)))
    compacting = Compacting.load(str(apiserver.kubeconfig))
    compacting.history = apiserver
    async with compacting:
        cache, reflector = pods_of(namespace, compacting, page=2)
        await reflector.refresh()
        assert sorted(pod.metadata.name for pod in cache.all()) == ["p1", "p2", "p3"]
        assert compacting.requests[LIST] == 4  # the first, the refused one, two


@pytest.mark.parametrize("kill", [False, True], ids=["ended", "killed"])
async def test_what_happened_while_the_server_was_away_is_found(client: Client, apiserver: ApiServer, namespace: str, kill: bool) -> None:
    await make_pods(client, namespace, "stays", "goes")
    ears = Ears()
    _, reflector = pods_of(namespace, client, ears, pause=lambda failures: 0.2)
    async with running(reflector):
        ears.clear()
        apiserver.stop("kube-apiserver", kill=kill)
        apiserver.etcd_delete(f"/registry/pods/{namespace}/goes")
        await until(lambda: client.requests[WATCH] > 2)  # it tries
        await asyncio.to_thread(apiserver.start, "kube-apiserver")
        await until(lambda: ears)
        assert ears.names() == ["-goes"]
        await make_pods(client, namespace, "new")
        await until(lambda: ears.names() == ["-goes", "+new"])
    assert client.requests[LIST] == 2


async def test_refresh_is_never_older_than_the_question(client: Client, apiserver: ApiServer, namespace: str) -> None:
    cache, reflector = pods_of(namespace, client)  # its watch does not run: only refresh fills it
    first = asyncio.create_task(reflector.refresh())
    await until(lambda: client.requests[LIST] == 1)
    apiserver.request("POST", PODS.path(namespace), pod(namespace, "made-after-the-first-question"))
    await asyncio.gather(*(reflector.refresh() for _ in range(5)))
    assert cache.get(namespace, "made-after-the-first-question")
    assert first.done()
    assert client.requests[LIST] == 2
    apiserver.request("DELETE", PODS.path(namespace, "made-after-the-first-question") + "?gracePeriodSeconds=0")
    await reflector.refresh()
    assert (len(cache), client.requests[LIST]) == (0, 3)


async def test_refresh_beside_a_watch_tells_everything_once(client: Client, namespace: str) -> None:
    ears = Ears()
    cache, reflector = pods_of(namespace, client, ears)
    async with running(reflector):
        for n in range(20):
            await make_pods(client, namespace, f"p{n}")
            await reflector.refresh()
            assert cache.get(namespace, f"p{n}")
        seen = cache.resource_version
        await make_pods(client, namespace, "last")
        await until(lambda: cache.resource_version > seen)
    assert sorted(ears.names()) == sorted(["+last", *(f"+p{n}" for n in range(20))])


class WidgetSpec(msgspec.Struct):
    size: int = 0


class Widget(Object):
    spec: WidgetSpec = msgspec.field(default_factory=WidgetSpec)


def widgets(plural: str) -> tuple[Kind[Widget], dict[str, Any]]:
    """A custom resource whose schema lets anything pass."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": plural[:-1], "kind": plural.capitalize()}
    spec = {"group": "test.ovnloom.io", "scope": "Cluster", "names": names, "versions": [version]}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.ovnloom.io"},
        "spec": spec,
    }
    return Kind("test.ovnloom.io", "v1", plural, plural.capitalize(), Widget, namespaced=False), crd


async def test_a_missing_kind_is_said_once_and_watched_when_it_comes(client: Client, apiserver: ApiServer) -> None:
    kind, crd = widgets("absentees")
    cache: Cache[Widget] = Cache(kind)
    with structlog.testing.capture_logs() as logs:
        reflector = Reflector(client, cache, pause=lambda failures: 0.1)
        task = asyncio.create_task(reflector.run())
        await until(lambda: client.requests[Sent("list", "absentees.test.ovnloom.io")] >= 3)
        assert [entry["event"] for entry in logs] == ["kind.absent"]
        apiserver.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        await asyncio.wait_for(reflector.synced(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_optional_kind_that_is_missing_holds_nobody_up(client: Client, apiserver: ApiServer) -> None:
    needed, crd = widgets("options")
    kind = replace(needed, optional=True)
    assert await crds.missing(client, [kind]) == ["options.test.ovnloom.io/v1"]
    await crds.check(client, [kind])
    cache: Cache[Widget] = Cache(kind)
    async with running(Reflector(client, cache, pause=lambda failures: 0.1)):
        assert len(cache) == 0
        apiserver.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        body = {"apiVersion": "test.ovnloom.io/v1", "kind": "Options", "metadata": {"name": "late"}}
        await until(lambda: cache.resource_version, 20)
        apiserver.request("POST", kind.path(), body)
        await until(lambda: cache.get("", "late"))


async def test_an_object_that_cannot_be_read_hides_no_other(client: Client, apiserver: ApiServer) -> None:
    kind, crd = widgets("widgets")
    apiserver.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    ears = Ears()
    cache: Cache[Widget] = Cache(kind, ears)
    reflector = Reflector(client, cache, pause=lambda failures: 0.1)

    def put(name: str, size: object) -> None:
        body = {"apiVersion": "test.ovnloom.io/v1", "kind": "Widgets", "metadata": {"name": name}, "spec": {"size": size}}
        apiserver.request("POST", kind.path(), body)

    async with running(reflector):
        put("good", 1)
        put("bad", "huge")
        put("late", 2)
        await until(lambda: len(ears) == 2)
        apiserver.request("PATCH", kind.path("", "good"), {"spec": {"size": "huge"}}, content_type=MERGE)
        with structlog.testing.capture_logs() as logs:
            await until(lambda: logs)
            await reflector.refresh()
    assert logs[0]["object"] == "widgets.test.ovnloom.io/good"
    assert logs[0]["reason"] == "Expected `int`, got `str` - at `$.spec.size`"
    assert ears.names() == ["+good", "+late"]
    good = cache.get("", "good")
    assert good is not None and good.spec.size == 1  # its last good state


async def test_a_heartbeat_of_a_node_costs_nothing(client: Client, apiserver: ApiServer) -> None:
    ears = Ears()
    cache = Cache(NODES, ears)
    apiserver.request("POST", NODES.path(), {"metadata": {"name": "n1"}})
    async with running(Reflector(client, cache)):
        before = cache.resource_version
        beat = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}
        apiserver.request("PATCH", NODES.path("", "n1", "status"), beat, content_type=MERGE)
        await until(lambda: cache.resource_version > before)
    assert ears.names() == ["+n1"]
    apiserver.request("DELETE", NODES.path("", "n1"))


def test_pod_keys_are_what_the_cache_uses() -> None:
    assert str(pod_key("ns", "p")) == "pods/ns/p"
