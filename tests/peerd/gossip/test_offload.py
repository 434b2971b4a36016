from __future__ import annotations

import threading

import pytest
import trio

from peerd.gossip.offload import in_thread, inline


def whose() -> int:
    return threading.get_ident()


def fail() -> None:
    raise KeyError("x")


async def test_work_in_a_thread_leaves_the_loop_free():
    assert await in_thread(whose) != threading.get_ident()
    with pytest.raises(KeyError):
        await in_thread(fail)


async def test_work_inline_stays_here_and_lets_others_run(autojump_clock):
    assert await inline(whose) == threading.get_ident()
    with pytest.raises(KeyError):
        await inline(fail)
    with trio.CancelScope() as scope:
        scope.cancel()
        await inline(fail)
    assert scope.cancelled_caught


async def test_work_in_a_thread_is_not_abandoned_half_way():
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        done.set()

    async def cancel(scope: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(begun.wait, 10)
        scope.cancel()
        may_end.set()

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(cancel, scope)
        with scope:
            await in_thread(work)
        assert done.is_set()
