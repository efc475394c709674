"""``status`` as plugins say it, compared with what the API server holds, and made a merge patch.

Plugins know no clock: conditions get their times here, and only when they change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def condition(type: str, ok: bool, reason: str, message: str = "") -> dict[str, object]:
    """A condition without times."""
    return {"type": type, "status": "True" if ok else "False", "reason": reason, "message": message}


def patch(current: msgspec.Raw | bytes, wanted: Mapping[str, object], *, now: str, generation: int) -> dict[str, object] | None:
    """The merge patch body for ``status`` (*now* in RFC 3339), or ``None`` if nothing would change."""
    held: dict[str, Any] = msgspec.json.decode(current) if current else {}
    changed: dict[str, object] = {}
    for field, value in wanted.items():
        if field == "conditions":
            conditions, differs = _conditions(held.get("conditions") or [], value, now, generation)  # type: ignore[arg-type]
            if differs:
                changed[field] = conditions
        elif not _same(held.get(field), value):
            changed[field] = value
    return {"status": changed} if changed else None


def _same(held: object, wanted: object) -> bool:
    # The API server keeps numbers beyond 64 bits (addresses of a /64) as floats.
    if isinstance(held, float) and isinstance(wanted, int):
        return held == float(wanted)
    if held is None:
        return wanted is None or wanted == "" or wanted == []
    return held == wanted


def _conditions(
    held: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], now: str, generation: int
) -> tuple[list[dict[str, Any]], bool]:
    """Conditions of ours replaced, others' kept (a merge patch replaces the whole list)."""
    before = {c.get("type"): dict(c) for c in held}
    result = dict(before)
    differs = False
    for one in wanted:
        old = before.get(one["type"], {})
        same = all(old.get(field, "") == one[field] for field in ("status", "reason", "message"))
        if same and old.get("observedGeneration", 0) >= generation:  # `kubectl wait` takes no word on an older generation
            continue
        differs = True
        moved = old.get("status") != one["status"]
        result[one["type"]] = {
            **one,
            "observedGeneration": generation,
            "lastUpdateTime": now,
            "lastTransitionTime": now if moved or not old.get("lastTransitionTime") else old["lastTransitionTime"],
        }
    return list(result.values()), differs
