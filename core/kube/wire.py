"""From the API server's JSON to objects, in one pass, keeping only the fields the kind's struct names.

An object that does not fit its struct must not hide the others: it comes out as ``Unreadable`` with a sentence.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from ovnloom.core.kube.client import ApiError, Status
from ovnloom.core.kube.objects import Key, Kind, Object, kind_id

T = TypeVar("T", bound=Object)


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    next: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct, Generic[T]):
    items: list[T] | None = None
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)


class _RawList(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)


class _Event(msgspec.Struct, Generic[T]):
    object: T
    type: str = ""


class _RawEvent(msgspec.Struct):
    object: msgspec.Raw
    type: str = ""


class _Codec(Generic[T]):
    """Decoders of one struct, made once."""

    def __init__(self, struct: type[T]) -> None:
        self.object = msgspec.json.Decoder(struct)
        self.list: msgspec.json.Decoder[_List[T]] = msgspec.json.Decoder(_List[struct])  # type: ignore[valid-type]  # a type made at run time
        self.event: msgspec.json.Decoder[_Event[T]] = msgspec.json.Decoder(_Event[struct])  # type: ignore[valid-type]  # as above
        self.raw = tuple(f.name for f in msgspec.structs.fields(struct) if f.type is msgspec.Raw)

    def own(self, obj: T) -> T:
        """A raw field is a window on the buffer it came in, and would keep all of that alive."""
        for name in self.raw:
            setattr(obj, name, getattr(obj, name).copy())
        return obj


@cache
def _codec_of(struct: type[Any]) -> _Codec[Any]:
    return _Codec(struct)


def _codec(kind: Kind[T]) -> _Codec[T]:
    return cast("_Codec[T]", _codec_of(kind.struct))


class _NameMetadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Name(msgspec.Struct):
    """So little of an object that nothing can be wrong with it."""

    metadata: _NameMetadata = msgspec.field(default_factory=_NameMetadata)


_named = msgspec.json.Decoder(_Name)
_raw_list = msgspec.json.Decoder(_RawList)
_raw_event = msgspec.json.Decoder(_RawEvent)
_status = msgspec.json.Decoder(Status)


class Unreadable(NamedTuple):
    """An object that does not fit the struct of its kind. *sentence* says which field."""

    key: Key
    version: int
    sentence: str


class Page(NamedTuple, Generic[T]):
    """A part of a list. *token* asks for the next one; empty: this was the last."""

    items: list[T]
    unreadable: list[Unreadable]
    version: int
    token: str


class Event(NamedTuple, Generic[T]):
    """*type* is ADDED, MODIFIED, DELETED or BOOKMARK (then only *version* counts)."""

    type: str
    object: T | Unreadable
    version: int


def version_of(obj: Object) -> int:
    """The resource version as a number (they are ordered within a resource); 0 if it has none."""
    return int(obj.metadata.resource_version or 0)


def decode(kind: Kind[T], body: bytes) -> T:
    """One object. Raises ``msgspec.DecodeError``."""
    codec = _codec(kind)
    return codec.own(codec.object.decode(body))


def decode_page(kind: Kind[T], body: bytes) -> Page[T]:
    """Raises ``msgspec.DecodeError`` if it is no list at all."""
    codec = _codec(kind)
    unreadable: list[Unreadable] = []
    try:
        page = codec.list.decode(body)
        items, meta = [codec.own(item) for item in page.items or ()], page.metadata
    except msgspec.ValidationError:
        raw, items = _raw_list.decode(body), []
        meta = raw.metadata
        for item in raw.items or ():
            one = _decode_or_name(kind, item)
            if isinstance(one, Unreadable):
                unreadable.append(one)
            else:
                items.append(one)
    return Page(items, unreadable, int(meta.resource_version or 0), meta.next)


def decode_event(kind: Kind[T], line: bytes) -> Event[T]:
    """Raises ``ApiError`` for an ERROR event, ``msgspec.DecodeError`` if it is no event at all."""
    codec = _codec(kind)
    if not line.startswith(b'{"type":"ERROR"'):
        try:
            event = codec.event.decode(line)
            return Event(event.type, codec.own(event.object), version_of(event.object))
        except msgspec.ValidationError:
            pass
    raw = _raw_event.decode(line)
    if raw.type == "ERROR":
        raise ApiError.from_status(_status.decode(raw.object))
    one = _decode_or_name(kind, raw.object)
    return Event(raw.type, one, one.version if isinstance(one, Unreadable) else version_of(one))


def _decode_or_name(kind: Kind[T], raw: msgspec.Raw) -> T | Unreadable:
    codec = _codec(kind)
    try:
        return codec.own(codec.object.decode(raw))
    except msgspec.ValidationError as error:
        named = _named.decode(raw).metadata
        return Unreadable(Key(kind_id(kind), named.namespace, named.name), int(named.resource_version or 0), str(error))
