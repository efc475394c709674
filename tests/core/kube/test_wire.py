from __future__ import annotations

import sys

import msgspec
import pytest

from ovnloom.core.kube.client import ApiError
from ovnloom.core.kube.kinds import PODS, SUBNETS, Subnet
from ovnloom.core.kube.objects import Key
from ovnloom.core.kube.wire import Unreadable, decode, decode_event, decode_page


def test_a_page_keeps_what_is_read() -> None:
    body = b"""{"kind":"PodList","metadata":{"resourceVersion":"120","continue":"abc"},"items":[
        {"metadata":{"name":"a","namespace":"ns","managedFields":[{"manager":"x"}]},"spec":{"nodeName":"n","volumes":[]},"status":{"phase":"Running"}}]}"""
    page = decode_page(PODS, body)
    [pod] = page.items
    assert (pod.metadata.name, pod.spec.node_name, pod.status.phase) == ("a", "n", "Running")
    assert (page.version, page.token, page.unreadable) == (120, "abc", [])


@pytest.mark.parametrize("items", [b"null", b"[]"])
def test_an_empty_list_may_be_null(items: bytes) -> None:
    assert decode_page(SUBNETS, b'{"metadata":{"resourceVersion":"7"},"items":%s}' % items) == ([], [], 7, "")


@pytest.mark.parametrize("more", [b"", b',"creationTimestamp":null'])  # older servers say so
def test_a_bookmark_has_nothing_but_a_version(more: bytes) -> None:
    event = decode_event(
        PODS, b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"12746"%s}}}' % more
    )
    assert (event.type, event.version) == ("BOOKMARK", 12746)


@pytest.mark.parametrize("order", [b'{"type":"ERROR","object":%s}', b'{"object":%s,"type":"ERROR"}'])
def test_an_error_event_is_an_exception(order: bytes) -> None:
    status = b'{"kind":"Status","status":"Failure","message":"too old resource version: 1 (9)","reason":"Expired","code":410}'
    with pytest.raises(ApiError, match="too old resource version") as error:
        decode_event(PODS, order % status)
    assert error.value.gone


def test_an_object_that_does_not_fit_is_named() -> None:
    bad = b'{"metadata":{"name":"s","resourceVersion":"9"},"spec":{"mtu":"huge"}}'
    expected = Unreadable(Key("subnets.kubeovn.io", "", "s"), 9, "Expected `int`, got `str` - at `$.spec.mtu`")
    page = decode_page(SUBNETS, b'{"metadata":{"resourceVersion":"10"},"items":[%s,{"metadata":{"name":"good"}}]}' % bad)
    assert ([s.metadata.name for s in page.items], page.unreadable) == (["good"], [expected])
    event = decode_event(SUBNETS, b'{"type":"MODIFIED","object":%s}' % bad)
    assert (event.type, event.object, event.version) == ("MODIFIED", expected, 9)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"<html>", b'{"type":"ADDED"}'])
def test_what_is_no_event_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(PODS, line)


def test_a_raw_field_does_not_keep_the_buffer_alive() -> None:
    item = b'{"metadata":{"name":"s"},"status":{"v4availableIPs":3}}'
    page, event = b'{"metadata":{},"items":[%s,%s]}' % (item, item), b'{"type":"ADDED","object":%s}' % item
    references = [sys.getrefcount(buffer) for buffer in (item, page, event)]
    kept = [decode(SUBNETS, item), *decode_page(SUBNETS, page).items, decode_event(SUBNETS, event).object]
    assert [sys.getrefcount(buffer) for buffer in (item, page, event)] == references
    for obj in kept:
        assert isinstance(obj, Subnet) and bytes(obj.status) == b'{"v4availableIPs":3}'
