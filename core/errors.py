"""The errors that mean something. Everything else that is raised is a bug.

``Invalid`` is the user's to mend: it becomes an Event and a condition, and is not tried again before the object
(or what it reads) changes. ``Retry`` is the world's: it is tried again after a while.
"""

from __future__ import annotations


def shown(text: str) -> str:
    """Text of a stranger, fit for a sentence: quoted, cut, without control characters."""
    return repr(text[:60]) + ("…" if len(text) > 60 else "")


class Invalid(Exception):
    """A sentence for the author of an object: what is wrong, in which field, and what would be right."""

    def __init__(self, sentence: str, *, reason: str = "Invalid") -> None:
        super().__init__(sentence)
        self.reason = reason


class Retry(Exception):
    """Not possible now. *after* is in seconds."""

    def __init__(self, sentence: str, *, after: float = 1.0) -> None:
        super().__init__(sentence)
        self.after = after


class ConfigError(Exception):
    """The process cannot start. *problems* lists everything that is wrong, at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
