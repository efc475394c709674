"""Kubernetes objects as ovnloom sees them: structs that name only the fields somebody reads.

Every field has a default, because a watch bookmark carries nothing but a resource version. ``status`` of a kind whose
status we write is kept as raw JSON: it is compared when a status is published and never makes an object "changed".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import msgspec


class OwnerReference(msgspec.Struct, rename="camel", frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Object(msgspec.Struct, rename="camel"):
    """What every kind has. A kind of one's own adds ``spec`` and, if it is read or written, ``status``."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A resource that is watched. *struct* says which fields are kept.

    *indexes* name ways to look objects up (``view.select``): a function from the object to the values it is found under.
    Two plugins that ask for one kind must ask for the same struct; their indexes are united. An *optional* kind may be missing
    in a cluster: until it is served there is no object of it. *fault* is the reason of Events about an object that is not valid.
    """

    group: str
    version: str
    plural: str
    kind: str
    struct: type[T]
    namespaced: bool = True
    indexes: Mapping[str, Callable[[T], Iterable[str]]] = field(default_factory=dict, compare=False)
    field_selector: str = ""
    optional: bool = False
    fault: str = "Invalid"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    def __hash__(self) -> int:
        return hash((self.group, self.plural))


class Key(NamedTuple):
    """Names one object of one kind: what queues hold, and what contributions are stored under."""

    kind: str  # plural.group, or plural for the core group: kinds never share it
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


def kind_id(kind: Kind[T]) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def key_of(kind: Kind[T], obj: Object) -> Key:
    return Key(kind_id(kind), obj.metadata.namespace, obj.metadata.name)
