"""Other programs: run to the end, or started to stay. Nothing here goes through a shell."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Word = str | Path

# A killed `loom` takes the programs it waits for along; what they started in turn is the kernel's business (see `enclosed`).
MORTAL = ("setpriv", "--pdeathsig", "KILL", "--")
TAIL_LINES = 25


class CommandFailed(Exception):
    """A program ended with another code than 0. The message is its last words."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        last = "\n".join(output.strip().splitlines()[-TAIL_LINES:])
        super().__init__(f"{shlex.join(argv)[:300]} ended with code {code}\n{last}")
        self.code = code
        self.output = output


def run(
    argv: Sequence[Word],
    *,
    check: bool = True,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    timeout: float | None = None,
) -> str:
    """Runs *argv* to its end and returns its standard output.

    *env* is added to the environment. With *log* all output goes to the end of that file, and "" is returned. *timeout* in seconds.
    Raises ``CommandFailed`` when the program fails and *check* is set, or is missing.
    """
    words = [str(word) for word in argv]
    full_env = merged_environment(env) if env else None
    try:
        if log is None:
            done = subprocess.run(
                [*MORTAL, *words], input=stdin, text=True, capture_output=True, env=full_env, cwd=cwd, timeout=timeout, check=False
            )
            out, err = done.stdout, done.stderr
        else:
            done, out, err = _run_logged(words, stdin, full_env, cwd, log, timeout)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(words, -1, f"no answer within {timeout} s") from error
    if check and done.returncode:
        raise CommandFailed(words, done.returncode, out + err)
    return out


def merged_environment(env: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with *env* over it."""
    return {**os.environ, **env}


def _run_logged(
    words: list[str], stdin: str, env: Mapping[str, str] | None, cwd: Path | None, log: Path, timeout: float | None
) -> tuple[subprocess.CompletedProcess[str], str, str]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        sink.write(f"$ {shlex.join(words)}\n")
        sink.flush()
        done = subprocess.run(
            [*MORTAL, *words], input=stdin, text=True, stdout=sink, stderr=sink, env=env, cwd=cwd, timeout=timeout, check=False
        )
    return done, "", "" if done.returncode == 0 else log.read_text(errors="replace")


def succeeds(argv: Sequence[Word], *, timeout: float | None = None) -> bool:
    """Whether *argv* ends with code 0."""
    try:
        run(argv, timeout=timeout)
    except CommandFailed:
        return False
    return True


def start(argv: Sequence[Word], log: Path) -> int:
    """Starts a daemon that outlives this process, its output in *log*; returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as sink:
        return subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True, cwd="/"
        ).pid


def enclosed(argv: Sequence[Word]) -> list[str]:
    """*argv* in a pid and mount namespace of its own: when it, or we, are killed, every process below it ends too."""
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--", *(str(word) for word in argv)]


def remove_tree(folder: Path) -> None:
    """Removes *folder* without crossing into another file system; several times faster than Python's own on many small files."""
    run(["rm", "-rf", "--one-file-system", "--", folder], check=False)
