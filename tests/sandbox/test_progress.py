"""Steps run in the order of their needs, two at a time, and the first failure ends the work."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from ovnloom.sandbox.command import CommandFailed, run, succeeds
from ovnloom.sandbox.progress import Board, Step, last_line, run_steps
from ovnloom.sandbox.ready import TooLate, until


def board() -> tuple[Board, io.StringIO]:
    text = io.StringIO()
    return Board(Console(file=text, width=200)), text


def test_needs_come_first() -> None:
    order: list[str] = []
    steps = [
        Step("images", lambda: order.append("images"), needs=("programs", "roots")),
        Step("programs", lambda: order.append("programs")),
        Step("roots", lambda: order.append("roots"), needs=("programs",)),
    ]
    shown, text = board()
    run_steps(shown, steps)
    assert order == ["programs", "roots", "images"]
    assert all(f"  {name}  0.0 s" in text.getvalue() for name in order)


def test_independent_steps_run_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)
    run_steps(board()[0], [Step("one", meeting.wait), Step("other", meeting.wait)])


def test_a_failure_is_raised_and_what_needs_it_is_not_begun() -> None:
    begun: list[str] = []

    def fail() -> None:
        raise CommandFailed(["make"], 2, "no rule")

    shown, text = board()
    with pytest.raises(CommandFailed, match="no rule"):
        run_steps(shown, [Step("bad", fail, log=Path("/the/log")), Step("after", lambda: begun.append("after"), needs=("bad",))])
    assert not begun and "FAILED  bad  (log: /the/log)" in text.getvalue()


@pytest.mark.parametrize("steps", [[Step("a", print, needs=("b",))], [Step("a", print, needs=("b",)), Step("b", print, needs=("a",))]])
def test_steps_that_can_never_run_are_an_error(steps: list[Step]) -> None:
    with pytest.raises(ValueError, match=r"steps (need|wait)"):
        run_steps(board()[0], steps)


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("one\n" * 5000 + "compiling x\n\n")
    assert last_line(log) == "compiling x"


def test_a_failed_program_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"code 3\nsorry") as caught:
        run(["sh", "-c", "echo sorry >&2; exit 3"])
    assert caught.value.code == 3
    with pytest.raises(CommandFailed, match="sorry"):
        run(["sh", "-c", "echo sorry; exit 3"], log=tmp_path / "log")
    assert run(["cat"], stdin="text") == "text"
    assert not succeeds(["no-such-program-at-all"])
    with pytest.raises(CommandFailed, match=r"no answer within 0\.2 s"):
        run(["sleep", "60"], timeout=0.2)


def test_waiting_has_an_end() -> None:
    answers = iter([False, True])
    until(lambda: next(answers), "the second answer", 5)
    with pytest.raises(TooLate, match="the moon: not within 0 s"):
        until(lambda: False, "the moon", 0.1)
