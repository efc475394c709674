"""The hooks as plugins see them, for ``hooks.golden``: ``python -m tests.conventions.signatures > tests/conventions/hooks.golden``.

A hook that changes for those who implement it raises ``API_VERSION`` in the same commit (docs/architecture.md, "The hooks").
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from ovnloom.core import hooks

SIDES = (hooks.ControllerHooks, hooks.AgentHooks)


def names(side: type) -> list[str]:
    return [name for name, value in vars(side).items() if inspect.isfunction(value) and not name.startswith("_")]


def lines() -> Iterator[str]:
    yield f"API_VERSION {hooks.API_VERSION}"
    for side in SIDES:
        for name in names(side):
            function = vars(side)[name]
            options = {key: value for key, value in getattr(function, f"{hooks.PROJECT}_spec").items() if value}
            signature = inspect.signature(function)
            parameters = ", ".join(f"{p.name}: {p.annotation}" for p in signature.parameters.values() if p.name != "self")
            marks = "".join(f" {key}={value}" for key, value in sorted(options.items()))
            yield f"{side.__name__}.{name}({parameters}) -> {signature.return_annotation}{marks}"


if __name__ == "__main__":
    print(*lines(), sep="\n")
