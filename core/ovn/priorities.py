"""Named bands of priorities of router policies and ACLs. A plugin registers its own; two of one name or number are an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Band:
    """*owner* (a plugin) uses *priority* in *table* for what *name* says."""

    table: str
    name: str
    priority: int
    owner: str


class BandClash(ValueError):
    """A band's name or priority is taken in its table."""


class Bands:
    """Who uses which priority of which table."""

    def __init__(self) -> None:
        self._by_priority: dict[tuple[str, int], Band] = {}
        self._by_name: dict[tuple[str, str], Band] = {}

    def register(self, band: Band) -> Band:
        """*band* itself, so that a plugin can name it. Registering the same one twice changes nothing. Raises ``BandClash``."""
        for taken in (self._by_priority.get((band.table, band.priority)), self._by_name.get((band.table, band.name))):
            if taken not in (None, band):
                raise BandClash(f"{band} clashes with {taken}")
        self._by_priority[band.table, band.priority] = band
        self._by_name[band.table, band.name] = band
        return band

    def all(self) -> list[Band]:
        """Ordered by table and falling priority."""
        return sorted(self._by_priority.values(), key=lambda band: (band.table, -band.priority))


BANDS = Bands()
register = BANDS.register
