"""MAC addresses as numbers of 48 bits."""

from __future__ import annotations

import re
from random import Random

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}|[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){5}", re.ASCII)


def mac_number(spelled: str) -> int:
    """Reads ``02:00:00:00:00:01``, upper case and dashes too.

    Raises ValueError if it is no MAC of six bytes.
    """
    if not _MAC.fullmatch(spelled):
        raise ValueError(f"{spelled!r} is not a MAC address such as 02:00:00:00:00:01")
    return int(spelled.replace(":", "").replace("-", ""), 16)


def mac_text(number: int) -> str:
    return number.to_bytes(6, "big").hex(":")


def random_mac(random: Random) -> int:
    """A locally administered address of one interface (IEEE 802: the second bit set, the first not)."""
    return random.getrandbits(48) & ~(1 << 40) | 1 << 41
