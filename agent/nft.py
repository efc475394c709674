"""Our nftables table: rendered from the desired values, replaced as a whole, compared as nft prints it.

What nft prints is not what it was given (networks are merged, words are normalised). So the text is first loaded into an
empty network namespace, and what is printed there is what must be printed here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from ovnloom.agent import netns
from ovnloom.core.desired.host import CHAINS, NftRule, NftSet
from ovnloom.core.net import network

TABLE = "ovnloom"
_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}
_LIST = ("list", "table", "inet", TABLE)


class NftError(OSError):
    """nft refused; the text is its own."""


def render(values: Iterable[NftSet | NftRule]) -> str:
    """The table as a ruleset for ``nft -f``; ``""`` if nothing is wanted in it.

    Raises ``ValueError`` for a chain or a network that is none.
    """
    values = list(values)
    rules = sorted((v for v in values if isinstance(v, NftRule)), key=lambda r: (r.priority, r.text))
    if unknown := {rule.chain for rule in rules} - CHAINS.keys():
        raise ValueError(f"there is no chain {', '.join(sorted(unknown))}; use one of {', '.join(CHAINS)}")
    lines = []
    for one in sorted((v for v in values if isinstance(v, NftSet)), key=lambda s: s.name):
        lines += [f"\tset {one.name} {{", f"\t\ttype {_TYPES[one.family]}", "\t\tflags interval", "\t\tauto-merge"]
        if one.networks:
            lines.append(f"\t\telements = {{ {', '.join(str(network(n)) for n in sorted(one.networks))} }}")
        lines.append("\t}")
    for chain, kind in CHAINS.items():
        if texts := [rule.text for rule in rules if rule.chain == chain]:
            lines += [f"\tchain {chain} {{", f"\t\t{kind}; policy accept;", *(f"\t\t{text}" for text in texts), "\t}"]
    return "\n".join([f"table inet {TABLE} {{", *lines, "}", ""]) if rules else ""


async def printed(text: str) -> str:
    """What nft prints of the table *text*. Raises ``NftError`` if it does not take it."""

    def load() -> str:
        _nft("-f", "-", text=text)
        return _nft(*_LIST)

    return await netns.in_new(load) if text else ""


async def held() -> str:
    """What nft prints of our table; ``""`` if there is none."""

    def read() -> str:
        try:
            return _nft(*_LIST)
        except NftError as error:
            if "No such file" in str(error):
                return ""
            raise

    return await netns.in_thread(read)


async def replace(text: str) -> None:
    """Replaces our table by *text* in one transaction; ``""`` takes it away."""
    await netns.in_thread(lambda: _nft("-f", "-", text=f"table inet {TABLE}\ndelete table inet {TABLE}\n{text}"))


def _nft(*arguments: str, text: str = "") -> str:
    done = subprocess.run(["nft", *arguments], input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise NftError(f"nft {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
