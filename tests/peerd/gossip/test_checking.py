from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from peerd.gossip.checking import (
    _BATCHES_OF_ONE_PROCESS,
    _CHECKS_OF_ONE_THREAD,
    CheckingProcesses,
    cores_here,
    on_threads,
    processes_for,
    worker_command,
)
from peerd.gossip.offload import in_thread, inline
from protocol.credentials.keys import PrivateKey, SignatureCheck
from protocol.limits import (
    CHECKING_ANSWER_S_MAX,
    CHECKING_BATCH_MIN,
    CHECKING_BATCHES_WAITING_MAX,
    CHECKING_IDLE_S_MAX,
    CHECKING_PROCESSES_MAX,
    CHECKING_RETRY_S,
    CHECKING_WORTH_MIN,
)

KEY = PrivateKey.from_seed(bytes(32))
GOOD = SignatureCheck(KEY.public.raw, KEY.sign(b"message"), b"message")
BAD = SignatureCheck(KEY.public.raw, KEY.sign(b"message"), b"other")
LARGE = [GOOD] * CHECKING_BATCH_MIN
ENOUGH = [GOOD] * CHECKING_WORTH_MIN


def program(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", f"import sys, time; {text}"]


# Programs that stand in for the worker. Both say first that they are there.
READY = "sys.stdout.write('r'); sys.stdout.flush()"
SILENT = program(f"{READY}; time.sleep(60)")
DIES = program(f"{READY}; sys.stdin.read(1)")


# --- on threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, _CHECKS_OF_ONE_THREAD, _CHECKS_OF_ONE_THREAD + 1])
async def test_threads_find_the_bad_one_wherever_it_is(autojump_clock, count):
    check = on_threads(inline)
    assert await check([GOOD] * count)
    for place in {0, count // 2, count - 1} if count else ():
        checks = [GOOD] * count
        checks[place] = BAD
        assert not await check(checks)


@pytest.mark.parametrize("count, parts", [(1, 1), (_CHECKS_OF_ONE_THREAD, 1), (_CHECKS_OF_ONE_THREAD + 1, 2)])
async def test_many_go_to_two_threads(autojump_clock, count, parts):
    asked = 0

    async def offload(work):
        nonlocal asked
        asked += 1
        return work()

    assert await on_threads(offload)([GOOD] * count)
    assert asked == parts


def test_one_core_has_no_use_for_processes():
    assert cores_here() >= 1
    assert processes_for(1) == 0
    assert processes_for(2) == 2
    assert processes_for(64) == CHECKING_PROCESSES_MAX


# --- in processes -------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A checker under test; what went to threads is counted, and each process that it started is known."""

    check: CheckingProcesses
    started: list[trio.Process]
    on_threads: list[None] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self) -> None:
        with self.scope:
            await self.check.run()

    async def settle(self, processes: int) -> None:
        """Wait until so many processes answer, all wait for batches, and none is about to start or to end."""
        idle = (processes, processes, processes * _BATCHES_OF_ONE_PROCESS)
        while (self.check._ready, self.check._processes, self.waiting()) != idle:
            await in_thread(lambda: None)

    def waiting(self) -> int:
        """How many wait to give a process a batch."""
        return self.check._batches.statistics().tasks_waiting_receive

    async def warm(self, processes: int = 1) -> None:
        """Have so many of them."""
        for number in range(processes):
            self.check._want(CHECKING_WORTH_MIN)
            await self.settle(number + 1)
            self.check._given += _BATCHES_OF_ONE_PROCESS  # as if it had its hands full
        self.check._given -= processes * _BATCHES_OF_ONE_PROCESS
        self.on_threads.clear()


@pytest.fixture
def begin(monkeypatch, nursery, mock_clock):
    """Begins with a program; time stands still unless it is told to jump."""
    started: list[trio.Process] = []
    open_process = trio.lowlevel.open_process

    async def opening(*arguments, **options):
        started.append(await open_process(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(trio.lowlevel, "open_process", opening)

    async def begin(command: list[str] | None = None) -> Bench:
        async def offload(work):
            bench.on_threads.append(None)
            await trio.lowlevel.checkpoint()
            return work()

        check = CheckingProcesses(offload, processes_max=2, command=command or worker_command())
        bench = Bench(check, started)
        nursery.start_soon(bench.run)
        await trio.testing.wait_all_tasks_blocked()
        return bench

    yield begin
    nursery.cancel_scope.cancel()


async def test_a_process_starts_when_it_is_worth_it_and_finds_the_bad_one(begin):
    bench = await begin()
    assert await bench.check(ENOUGH[CHECKING_BATCH_MIN:])
    assert await bench.check(LARGE[1:])
    assert bench.check._processes == 0
    assert await bench.check(LARGE)
    await bench.settle(1)
    bench.on_threads.clear()
    for place in (0, CHECKING_BATCH_MIN - 1):
        checks = list(LARGE)
        checks[place] = BAD
        assert not await bench.check(checks)
        assert await bench.check(LARGE)
    assert not bench.on_threads
    assert await bench.check(LARGE[1:])
    assert bench.on_threads, "a few are not worth the way"


async def test_each_of_many_batches_gets_its_own_answer(begin):
    bench = await begin()
    await bench.warm()
    held: dict[int, bool] = {}

    async def check(number: int) -> None:
        held[number] = await bench.check([*LARGE, GOOD if number % 3 else BAD])

    async with trio.open_nursery() as nursery:
        for number in range(3 * _BATCHES_OF_ONE_PROCESS):
            nursery.start_soon(check, number)
    assert held == {number: number % 3 > 0 for number in held}
    assert len(held) == 3 * _BATCHES_OF_ONE_PROCESS
    assert not bench.on_threads


async def test_after_a_pause_demand_is_counted_anew(begin, mock_clock):
    bench = await begin()
    assert await bench.check(ENOUGH[1:])
    mock_clock.jump(CHECKING_IDLE_S_MAX + 1)
    assert await bench.check(LARGE)
    assert bench.check._processes == 0


async def test_an_idle_process_is_let_go_and_another_comes(begin, mock_clock):
    bench = await begin()
    await bench.warm()
    mock_clock.jump(CHECKING_IDLE_S_MAX + 1)
    await bench.settle(0)
    (process,) = bench.started
    assert process.returncode is not None
    await bench.warm()
    assert await bench.check(LARGE)
    assert not bench.on_threads


async def test_there_are_only_so_many_processes_and_batches_that_wait(begin, mock_clock):
    """None answers: what they have and what waits for them is checked on threads in the end."""
    bench = await begin(SILENT)
    await bench.warm(2)
    held: list[bool] = []

    async def check(checks):
        held.append(await bench.check(checks))

    async with trio.open_nursery() as nursery:
        for number in range(2 * _BATCHES_OF_ONE_PROCESS + CHECKING_BATCHES_WAITING_MAX + 2):
            nursery.start_soon(check, [*LARGE, BAD] if number % 3 else LARGE)
        await trio.testing.wait_all_tasks_blocked()
        assert bench.check._batches.statistics().current_buffer_used == CHECKING_BATCHES_WAITING_MAX
        assert bench.check._batches.statistics().tasks_waiting_send == 2
        assert bench.check._processes == 2
        mock_clock.jump(CHECKING_ANSWER_S_MAX + 1)
    assert sorted(held) == [False] * 9 + [True] * 5
    assert len(bench.started) == 2


@pytest.mark.parametrize(
    "command",
    [["/nowhere/python"], program(""), program("time.sleep(60)"), DIES],
    ids=["no program", "ends at once", "never begins", "dies when asked"],
)
async def test_what_does_not_work_is_told_once_and_left_alone_for_a_while(begin, mock_clock, caplog, command):
    bench = await begin(command)
    for _ in range(2):
        caplog.clear()
        while not caplog.records:
            bench.check._want(CHECKING_WORTH_MIN)
            assert await bench.check(LARGE)
            mock_clock.jump(CHECKING_ANSWER_S_MAX / 2)
            await in_thread(lambda: None)
        await bench.settle(0)
        assert all(process.returncode is not None for process in bench.started)
        bench.check._want(CHECKING_WORTH_MIN)
        assert not await bench.check([*LARGE, BAD])
        assert bench.check._processes == 0
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        mock_clock.jump(CHECKING_RETRY_S)


async def test_a_process_that_is_killed_at_work_harms_nobody(begin):
    bench = await begin(SILENT)
    await bench.warm()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kill_when_busy, bench)
        assert not await bench.check([*LARGE, BAD])
    assert bench.on_threads


async def kill_when_busy(bench: Bench) -> None:
    while not bench.check._given:
        await in_thread(lambda: None)
    os.kill(bench.started[0].pid, signal.SIGKILL)


async def test_who_gives_up_takes_nobody_with_him(begin):
    bench = await begin()
    await bench.warm()
    for _ in range(3):
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.check(LARGE)
        assert scope.cancelled_caught
    assert await bench.check(LARGE)
    assert not await bench.check([*LARGE, BAD])
    assert not bench.on_threads


async def test_at_the_end_nothing_is_left_and_who_waits_is_answered(begin):
    bench = await begin(SILENT)
    await bench.warm(2)
    held: list[bool] = []

    async def check() -> None:
        held.append(await bench.check([*LARGE, BAD]))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        bench.scope.cancel()
    assert held == [False] * 3
    await bench.settle(0)
    assert [process.returncode for process in bench.started] == [-signal.SIGKILL] * 2
    assert await bench.check(ENOUGH)
    await bench.settle(0)


PARENT = """
import trio
from peerd.gossip.checking import _worker, worker_command

async def main():
    async with _worker(worker_command()) as worker:
        print(worker.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_a_process_does_not_outlive_a_daemon_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        watched = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    readable, _, _ = select.select([watched], [], [], 20)
    os.close(watched)
    assert readable
