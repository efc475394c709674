from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ovnloom.core.kube import backoff
from ovnloom.core.kube.objects import Key
from ovnloom.core.kube.queue import KeyQueue

A, B = Key("pods", "ns", "a"), Key("pods", "ns", "b")
NEVER = 3600.0


async def soon(queue: KeyQueue) -> list[Key]:
    return await asyncio.wait_for(queue.get_batch(), 5)


async def idle(queue: KeyQueue, seconds: float = 0.05) -> bool:
    try:
        await asyncio.wait_for(queue.get_batch(), seconds)
    except TimeoutError:
        return True
    return False


async def test_a_key_is_in_it_once_and_in_order() -> None:
    queue = KeyQueue()
    for key in (B, A, B, A):
        queue.add(key)
    assert len(queue) == 2
    assert await soon(queue) == [B, A]
    assert await idle(queue)


async def test_a_waiting_consumer_is_woken() -> None:
    queue = KeyQueue()
    waiting = asyncio.create_task(soon(queue))
    await asyncio.sleep(0)
    queue.add(A)
    assert await waiting == [A]


async def test_a_cancelled_consumer_loses_nothing() -> None:
    queue = KeyQueue()
    assert await idle(queue, 0.01)
    queue.add(A)
    assert await soon(queue) == [A]


async def test_failures_double_until_forgotten() -> None:
    asked: list[int] = []

    def pause(failures: int) -> float:
        asked.append(failures)
        return 0.0

    queue = KeyQueue(pause=pause)
    for _ in range(3):
        assert queue.fail(A) == 0.0
        assert await soon(queue) == [A]
    queue.fail(B)
    assert queue.failures(A) == 3
    queue.forget(A)
    queue.fail(A)
    assert asked == [1, 2, 3, 1, 1]


async def test_news_does_not_wait_for_the_retry_and_replaces_it() -> None:
    queue = KeyQueue(pause=lambda failures: 0.05)
    queue.fail(A)
    queue.add(A)
    assert await soon(queue) == [A]
    assert await idle(queue, 0.15)


async def test_forget_takes_the_retry_back() -> None:
    queue = KeyQueue(pause=lambda failures: 0.02)
    queue.fail(A)
    queue.forget(A)
    assert await idle(queue, 0.1)


async def test_the_earliest_appointment_holds_and_news_does_not_cancel_it() -> None:
    queue = KeyQueue()
    queue.add_after(A, NEVER)
    queue.add_after(A, 0.05)
    queue.add_after(A, NEVER)
    queue.add(A)
    assert await soon(queue) == [A]
    assert await soon(queue) == [A]
    queue.add_after(B, 0.01)
    queue.close()
    assert await idle(queue)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_delay_stays_between_its_bounds(failures: int, fraction: float) -> None:
    seconds = backoff.delay(failures, first=0.2, most=60.0, fraction=fraction)
    assert 0.1 <= seconds <= 60.0


def test_delays_double() -> None:
    assert [backoff.delay(n, first=0.5, most=30.0, fraction=1.0) for n in (1, 2, 3, 7, 8)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert backoff.delay(1, first=0.5, most=30.0, fraction=0.0) == 0.25
    assert len({backoff.delay(1, first=0.5, most=30.0) for _ in range(20)}) > 1
