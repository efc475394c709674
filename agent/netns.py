"""Work in a pod's network namespace: each job is done by a thread of its own that enters the namespace and ends there.

Such a thread is never used again, so no thread of ours is ever in the wrong namespace. (``pyroute2`` would fork instead.)
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """The network namespace at *path* as a file descriptor.

    Raises ``FileNotFoundError`` if there is nothing, ``ValueError`` with a sentence if it is something else
    or the node's own namespace (whose devices must not be taken for a pod's).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        try:
            kind = fcntl.ioctl(fd, _NS_GET_NSTYPE)
        except OSError:
            raise ValueError(f"{path} is not a namespace") from None
        if kind != _CLONE_NEWNET:
            raise ValueError(f"{path} is a namespace, but not of the network")
        if os.path.samestat(os.fstat(fd), Path("/proc/self/ns/net").stat()):
            raise ValueError(f"{path} is the node's own network namespace")
        yield fd
    finally:
        os.close(fd)


def _enter(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")


async def inside(fd: int, work: Callable[[], T]) -> T:
    """Does *work* in the namespace *fd* and returns what it returns. When cancelled it waits for the work to end first."""

    def job() -> T:
        _enter(fd)
        return work()

    return await in_thread(job)


async def in_thread(job: Callable[[], T]) -> T:
    """Does *job* in a new thread. When cancelled it waits for the job to end first: a job is never left running behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = job()
        except BaseException as error:  # handed to the one who awaits
            loop.call_soon_threadsafe(done.set_exception, error)
        else:
            loop.call_soon_threadsafe(done.set_result, result)

    threading.Thread(target=run, name="netns", daemon=True).start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        if not done.cancelled():
            done.exception()
        raise


async def in_new(work: Callable[[], T]) -> T:
    """Does *work* in a new, empty network namespace that goes when the work is done."""

    def job() -> T:
        if _libc.unshare(_CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot make a network namespace: {os.strerror(number)}")
        return work()

    return await in_thread(job)
