"""Laws of the cache: lists, watch events and answers to writes overtake each other, and it ends right all the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnloom.core.kube.cache import Cache, differs
from ovnloom.core.kube.kinds import Node, NodeAddress, NodeStatus, Pod, PodSpec, Subnet, SubnetSpec
from ovnloom.core.kube.objects import Key, Kind, Metadata, Object


class ThingSpec(msgspec.Struct):
    tags: list[str] = []


class Thing(Object):
    spec: ThingSpec = msgspec.field(default_factory=ThingSpec)


def _first_letters(thing: Thing) -> Iterable[str]:
    return (tag[0] for tag in thing.spec.tags)


THINGS = Kind("", "v1", "things", "Thing", Thing, indexes={"tag": lambda t: t.spec.tags, "letter": _first_letters})


def thing(name: str, version: int, *tags: str, namespace: str = "ns") -> Thing:
    return Thing(metadata=Metadata(name=name, namespace=namespace, resource_version=str(version)), spec=ThingSpec(tags=list(tags)))


def key(name: str, namespace: str = "ns") -> Key:
    return Key("things", namespace, name)


class Mirror(dict[Key, Object]):
    """What somebody knows who only listens to the sink; complains of news that is none."""

    def __call__(self, kind: Kind[Any], key: Key, old: Object | None, new: Object | None) -> None:
        known = self.get(key)
        assert (known is None) == (old is None)
        assert known is None or old is None or not differs(known, old)
        if new is None:
            del self[key]
            return
        assert old is None or differs(old, new)
        self[key] = new


def names(things: Iterable[Thing]) -> set[str]:
    return {t.metadata.name for t in things}


def test_lookups_follow_every_change() -> None:
    cache = Cache(THINGS)
    assert cache.upsert(thing("a", 1, "red", "round")) == (None, True)
    cache.upsert(thing("b", 2, "red", namespace="other"))
    assert names(cache.select("tag", "red")) == {"a", "b"}
    assert names(cache.select("letter", "r")) == {"a", "b"}
    assert names(cache.in_namespace("ns")) == {"a"}
    cache.upsert(thing("a", 3, "blue"))
    assert (names(cache.select("tag", "red")), names(cache.select("tag", "blue"))) == ({"b"}, {"a"})
    cache.remove(key("a"))
    assert (cache.select("tag", "blue"), cache.in_namespace("ns"), cache.get("ns", "a")) == ([], [], None)
    with pytest.raises(LookupError, match=r"things has no index 'colour', only \['letter', 'tag'\]"):
        cache.select("colour", "red")


def test_an_older_object_is_ignored_by_number_not_by_text() -> None:
    cache = Cache(THINGS)
    cache.upsert(thing("a", 10, "new"))
    assert not cache.upsert(thing("a", 9, "old")).changed
    assert names(cache.select("tag", "new")) == {"a"}
    assert cache.upsert(thing("a", 11, "newest")).changed


def test_a_late_answer_does_not_bring_back_the_dead() -> None:
    cache = Cache(THINGS)
    cache.upsert(thing("a", 3))
    cache.remove(key("a"), 5)
    cache.advance(5)
    assert not cache.upsert(thing("a", 4)).changed
    assert cache.get("ns", "a") is None
    assert cache.upsert(thing("a", 6)).changed  # made again


def test_a_late_deletion_does_not_delete_what_was_made_since() -> None:
    cache = Cache(THINGS)
    cache.upsert(thing("a", 6))
    assert cache.remove(key("a"), 5) is None
    assert cache.get("ns", "a")
    assert cache.remove(key("a"), 7)


def test_an_object_without_version_counts_as_new() -> None:
    cache = Cache(THINGS)
    cache.advance(5)
    made = Thing(metadata=Metadata(name="a", namespace="ns"))
    assert cache.upsert(made).changed
    assert cache.get("ns", "a") is made


def test_a_list_deletes_what_is_not_in_it_but_nothing_newer_nor_what_is_kept() -> None:
    mirror = Mirror()
    cache = Cache(THINGS, mirror)
    for version, name in enumerate(("gone", "stays", "unreadable"), start=1):
        cache.upsert(thing(name, version))
    cache.upsert(thing("made-since", 20))
    cache.replace([thing("stays", 2), thing("new", 9)], 10, keep={key("unreadable")})
    assert names(cache.all()) == {"stays", "unreadable", "made-since", "new"}
    assert {k.name for k in mirror} == names(cache.all())
    assert cache.resource_version == 10


def test_a_restored_store_is_believed() -> None:
    cache = Cache(THINGS)
    cache.replace([thing("a", 50, "late"), thing("b", 60)], 100)
    cache.replace([thing("a", 7, "early")], 8, reset=True)
    assert (names(cache.all()), names(cache.select("tag", "early")), cache.resource_version) == ({"a"}, {"a"}, 8)


def test_what_is_compared() -> None:
    pod = Pod(metadata=Metadata(name="a", resource_version="1", generation=1), spec=PodSpec(node_name="n"))
    same = Pod(metadata=Metadata(name="a", resource_version="2", generation=2), spec=PodSpec(node_name="n"))
    assert not differs(pod, same)
    for name, value in {
        "labels": {"a": "b"},
        "annotations": {"a": "b"},
        "uid": "u",
        "deletion_timestamp": "t",
        "finalizers": ["f"],
    }.items():
        other = Pod(metadata=msgspec.structs.replace(pod.metadata, **{name: value}), spec=pod.spec)
        assert differs(pod, other), name
    assert differs(pod, Pod(metadata=pod.metadata, spec=PodSpec(node_name="m")))


def test_a_status_counts_if_it_is_read_and_not_if_it_is_raw() -> None:
    assert differs(Node(), Node(status=NodeStatus(addresses=[NodeAddress("InternalIP", "10.0.0.1")])))
    assert not differs(Subnet(status=msgspec.Raw(b"{}")), Subnet(status=msgspec.Raw(b'{"v4availableIPs":1}')))
    assert differs(Subnet(), Subnet(spec=SubnetSpec(mtu=1400)))


def test_an_unchanged_object_is_taken_in_silently() -> None:
    mirror = Mirror()
    cache = Cache(Kind("", "v1", "subnets", "Subnet", Subnet, namespaced=False), mirror)
    cache.upsert(Subnet(metadata=Metadata(name="s", resource_version="1"), status=msgspec.Raw(b"{}")))
    told = dict(mirror)
    upserted = cache.upsert(Subnet(metadata=Metadata(name="s", resource_version="2"), status=msgspec.Raw(b'{"x":1}')))
    assert not upserted.changed
    now = cache.get("", "s")
    assert now is not None and (now.metadata.resource_version, bytes(now.status)) == ("2", b'{"x":1}')
    assert dict(mirror) == told


class Server:
    """The history of a collection, and everything that is on its way from it to one cache."""

    def __init__(self) -> None:
        self.history: list[tuple[str, Thing | None]] = []  # by version: the name, and what became of it

    @property
    def version(self) -> int:
        return len(self.history)

    def commit(self, name: str, tags: list[str] | None) -> None:
        self.history.append((name, None if tags is None else thing(name, self.version + 1, *tags)))

    def at(self, version: int) -> dict[str, Thing]:
        state: dict[str, Thing] = {}
        for name, became in self.history[:version]:
            if became is None:
                state.pop(name, None)
            else:
                state[name] = became
        return state


class Link:
    """Three ways into one cache, each at its own pace."""

    def __init__(self) -> None:
        self.server, self.mirror = Server(), Mirror()
        self.cache = Cache(THINGS, self.mirror)
        self.listed: tuple[int, int] | None = (0, 0)  # version of a list under way, and what was known when it was asked for
        self.watched = 0  # up to where the open watch has told

    def commit(self, name: str, tags: list[str] | None) -> None:
        self.server.commit(name, tags)

    def tell(self) -> None:
        if self.watched < self.server.version:
            name, became = self.server.history[self.watched]
            self.watched += 1
            if became is None:
                self.cache.remove(key(name), self.watched)
            else:
                self.cache.upsert(became)
            self.cache.advance(self.watched)

    def ask_for_list(self) -> None:
        self.listed = (self.server.version, self.cache.resource_version)

    def list_lands(self) -> None:
        if self.listed is None:
            return
        (version, known), self.listed = self.listed, None
        self.cache.replace(self.server.at(version).values(), version, reset=version < known)
        for name, listed in self.server.at(version).items():
            cached = self.cache.get("ns", name)
            assert cached is None or int(cached.metadata.resource_version) >= int(listed.metadata.resource_version)

    def answer(self, which: int) -> None:
        if self.server.history and (made := self.server.history[which % self.server.version][1]):
            self.cache.upsert(made)

    def reconnect(self) -> None:
        self.watched = self.cache.resource_version

    def settle(self) -> None:
        self.list_lands()
        while self.watched < self.server.version:
            self.tell()


_names = st.sampled_from(["a", "b", "c"])
_tags = st.none() | st.lists(st.sampled_from(["red", "round", "blue"]), max_size=3)
_steps = st.one_of(
    st.tuples(st.just("commit"), _names, _tags),
    st.tuples(st.just("answer"), st.integers(0, 100)),
    *(st.tuples(st.just(step)) for step in ("tell", "ask_for_list", "list_lands", "reconnect")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_steps, max_size=60))
def test_whatever_overtakes_what_the_cache_ends_like_the_server(steps: list[Any]) -> None:
    link = Link()
    for step, *arguments in steps:
        getattr(link, step)(*arguments)
    link.settle()
    for late in range(link.server.version):
        link.answer(late)
    truth = link.server.at(link.server.version)
    assert {t.metadata.name: t for t in link.cache.all()} == truth
    assert {k.name: t.metadata.name for k, t in link.mirror.items()} == {name: name for name in truth}
    assert all(not differs(link.mirror[key(name)], t) for name, t in truth.items())
    for index, values in THINGS.indexes.items():
        for value in ("red", "round", "blue", "r", "b"):
            assert names(link.cache.select(index, value)) == {name for name, t in truth.items() if value in set(values(t))}
    assert names(link.cache.in_namespace("ns")) == set(truth)
