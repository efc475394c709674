"""What one step of the engine wants done, and what did not work."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovnloom.core.desired.store import Spot
from ovnloom.core.kube.objects import Key
from ovnloom.core.ovn.ops import Unit


@dataclass(frozen=True, slots=True)
class Failure:
    """Something about *key* did not work. *sentence* is for its author; tried again after *retry* seconds, if that is not ``None``."""

    key: Key
    reason: str
    sentence: str
    retry: float | None = None


@dataclass(slots=True)
class Batch:
    """What one step wants done. *units* go into one transaction; *refresh* names kinds whose cache is too old."""

    units: list[Unit] = field(default_factory=list)
    spots: dict[Key, dict[Spot, None]] = field(default_factory=dict)
    rendered: list[Key] = field(default_factory=list)
    refresh: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
