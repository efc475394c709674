"""How long to wait after the n-th failure."""

from __future__ import annotations

import random


def delay(failures: int, *, first: float, most: float, fraction: float | None = None) -> float:
    """Seconds before the next try: *first* doubled per failure after the first one, at most *most*, of which 50 to 100 %.

    The spread keeps many clients of one server from coming back in step. *fraction* (0..1) replaces the dice.
    """
    if fraction is None:
        fraction = random.random()
    return float(min(most, first * 2 ** min(max(failures - 1, 0), 40)) * (0.5 + fraction / 2))
