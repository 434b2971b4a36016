"""Checking many signatures: on worker threads, and where there are very many, in processes of their own.

A thread that checks gives the interpreter's lock away for each signature and then waits to get it back, while
the loop waits for the thread: with two cores both got little more than one. A process has a lock of its own.
What it costs is its start (a tenth of a second) and 24 MiB, so there is none before there is much to check,
one more only while all are busy, and none again after a pause.

Threads stay the way for few signatures, until a process is there, and when there can be none: a process that
cannot be started, dies or does not answer is told once in the log, and what it had is checked on threads.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from peerd.gossip.check_worker import HOLD, batch_of
from peerd.gossip.offload import Offload
from protocol.credentials.keys import SignatureCheck, all_hold
from protocol.limits import (
    CHECKING_ANSWER_S_MAX,
    CHECKING_BATCH_MIN,
    CHECKING_BATCHES_WAITING_MAX,
    CHECKING_IDLE_S_MAX,
    CHECKING_PROCESSES_MAX,
    CHECKING_RETRY_S,
    CHECKING_WORTH_MIN,
)

log = logging.getLogger(__name__)

_CHECKS_OF_ONE_THREAD = 32  # about 4 ms; more are worth a second thread
_BATCHES_OF_ONE_PROCESS = 2  # the second is there when the first is done, however long the loop is held then


class Checker(Protocol):
    """Says, without holding up the loop, whether every one of some signatures holds."""

    async def __call__(self, checks: Sequence[SignatureCheck]) -> bool:
        """Check them all, or up to one that does not hold."""
        ...


def on_threads(offload: Offload) -> Checker:
    """Wherever `offload` puts work: a few at once, many in two parts."""

    async def check(checks: Sequence[SignatureCheck]) -> bool:
        half = len(checks) // 2 if len(checks) > _CHECKS_OF_ONE_THREAD else len(checks)
        held: list[bool] = []

        async def check_part(part: Sequence[SignatureCheck]) -> None:
            held.append(await offload(partial(all_hold, part)))

        async with trio.open_nursery() as nursery:
            for part in (checks[:half], checks[half:]):
                if part:
                    nursery.start_soon(check_part, part)
        return all(held)

    return check


def worker_command() -> list[str]:
    """What starts a process that checks."""
    return [sys.executable, "-P", "-m", "peerd.gossip.check_worker"]


def cores_here() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(cores: int) -> int:
    """How many processes are of use: with one core, none."""
    return min(cores, CHECKING_PROCESSES_MAX) if cores > 1 else 0


class CheckingProcesses:
    """A checker that has processes while `run` runs, when they are worth it. Otherwise it uses threads."""

    def __init__(self, offload: Offload, *, processes_max: int, command: Sequence[str]) -> None:
        """Nothing is started yet. `command` is the program that answers as `check_worker` does."""
        self._on_threads = on_threads(offload)
        self._processes_max = processes_max
        self._command = command
        self._batches_in, self._batches = trio.open_memory_channel[_Batch](CHECKING_BATCHES_WAITING_MAX)
        self._nursery: trio.Nursery | None = None
        self._processes = self._ready = 0  # alive or starting; that answer
        self._given = 0  # batches that they have
        self._demand = 0  # signatures in large batches, without a pause in which a process would be let go
        self._demanded_s = self._broken_until_s = 0.0

    async def run(self) -> None:
        """Have processes when they are needed, until cancelled; then there is none."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def __call__(self, checks: Sequence[SignatureCheck]) -> bool:
        """Check them all, or up to one that does not hold; cancelled, they may still be checked for
        nothing.
        """
        if len(checks) < CHECKING_BATCH_MIN:
            return await self._on_threads(checks)
        self._want(len(checks))
        held = None
        if self._ready:
            batch = _Batch(batch_of(checks))
            await self._batches_in.send(batch)
            await batch.done.wait()
            held = batch.held
        return await self._on_threads(checks) if held is None else held

    def _want(self, count: int) -> None:
        """Start one more process where that is worth it."""
        now_s = trio.current_time()
        paused = now_s - self._demanded_s > CHECKING_IDLE_S_MAX
        self._demand = count if paused else self._demand + count
        self._demanded_s = now_s
        if (
            self._nursery is not None
            and self._demand >= CHECKING_WORTH_MIN
            and self._processes < self._processes_max
            and self._given == self._processes * _BATCHES_OF_ONE_PROCESS
            and now_s >= self._broken_until_s
        ):
            self._processes += 1
            self._nursery.start_soon(self._work)

    # --- one process ----------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Have a process, and give it batches until there are none for a while, or it fails."""
        ready = 0
        try:
            async with _worker(self._command) as worker:
                ready = 1
                self._ready += 1
                async with trio.open_nursery() as nursery:
                    for _ in range(_BATCHES_OF_ONE_PROCESS):
                        nursery.start_soon(self._give, worker)
        except* (OSError, EOFError, trio.BrokenResourceError, trio.TooSlowError) as errors:
            self._broken_until_s = trio.current_time() + CHECKING_RETRY_S
            detail = "; ".join(f"{type(error).__name__}: {error}" for error in errors.exceptions)
            log.warning("signatures are checked on threads: a process failed", extra={"detail": detail})
        finally:
            self._processes -= 1
            self._ready -= ready
            if not self._ready:
                self._give_back()

    async def _give(self, worker: _Worker) -> None:
        """Give a process one batch after another, beside others who do so."""
        while (batch := await self._next()) is not None:
            await self._answer(batch, worker)

    async def _next(self) -> _Batch | None:
        with trio.move_on_after(CHECKING_IDLE_S_MAX):
            return await self._batches.receive()
        return None

    async def _answer(self, batch: _Batch, worker: _Worker) -> None:
        self._given += 1
        try:
            batch.held = await worker.ask(batch.packed)
        finally:
            self._given -= 1
            batch.done.set()

    def _give_back(self) -> None:
        """Nobody is there to check what waits: those who wait do."""
        with suppress(trio.WouldBlock):
            while True:
                self._batches.receive_nowait().done.set()


@dataclass(slots=True)
class _Batch:
    """Signatures that wait for a process; `held` stays None when none has answered."""

    packed: bytes
    done: trio.Event = field(default_factory=trio.Event)
    held: bool | None = None


class _Worker:
    """A process that answers."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdio is not None
        self.pid = process.pid
        self._stdio = process.stdio
        self._asking = trio.Lock()
        self._hearing = trio.Lock()

    async def ask(self, packed: bytes) -> bool:
        """Whether all of a batch hold; several may ask at once. Raises: as `hear`."""
        async with self._asking:
            with trio.fail_after(CHECKING_ANSWER_S_MAX):
                await self._stdio.send_all(packed)
        # Who waits for the lock gets it in turn: answers come in the order of the questions.
        async with self._hearing:
            return await self.hear() == HOLD

    async def hear(self) -> bytes:
        """One word of it. Raises: TooSlowError; EOFError and BrokenResourceError when it has ended."""
        with trio.fail_after(CHECKING_ANSWER_S_MAX):
            word = await self._stdio.receive_some(1)
        if not word:
            raise EOFError("it has ended")
        return bytes(word)


@asynccontextmanager
async def _worker(command: Sequence[str]) -> AsyncIterator[_Worker]:
    """Start a process, and leave none. Raises: OSError; as `_Worker.hear`."""
    # It finds its modules where this process has found them.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        worker = _Worker(process)
        await worker.hear()
        yield worker
    finally:
        process.kill()  # it has nothing to finish
        with trio.CancelScope(shield=True):
            await process.wait()
            assert process.stdio is not None
            await process.stdio.aclose()
