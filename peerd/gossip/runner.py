"""The crank: the only place that turns a group's machine.

Commit, then speak. One task per group takes what waits, lets the machine handle each event inside one
transaction, commits once in a worker thread, and only then performs the outputs, rings the bell for
applications and answers commands. What the store holds back is written by the loop: a thread gives the
interpreter's lock away with each statement, and gets it back, while the loop works, 5 ms later.

Machine and store belong to one turn at a time: the crank's, or that of somebody who reads (`ask`) between two
turns of it, from what is committed. A reader runs in its own task, so that its mistakes are its own.

A turn that takes long lets other tasks of the daemon go on between two of its events. Events are taken from
a bounded inbox. Who posts waits when it is full: a neighbor that sends faster than this
group can store is slowed by its own connection and slows nobody else.

When the store fails, the machine is ahead of the disk. The crank then refuses whoever waits and raises; the
group is opened again from disk, or the daemon ends: nothing goes on with a state that cannot be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import trio

from peerd.clock import Clock
from peerd.errors import NotReady, PeerdError, StoreError
from peerd.gossip.offload import Offload
from protocol.authority.act_set import ActSet, ActStore
from protocol.errors import RuleError
from protocol.limits import CRANK_EVENTS_MAX, INBOX_EVENTS_MAX
from protocol.machines.events import Input, Output, Result, Tick
from protocol.machines.group import GroupMachine
from protocol.records.record_set import RecordSet

T = TypeVar("T")
Perform = Callable[[Sequence[Output]], None]

_TURN_HELD_S = 0.005  # after which a turn lets other tasks go on before its next event


class RunnerStore(ActStore, RecordSet, Protocol):
    """All that a group holds, and the transactions over it."""


@dataclass(slots=True)
class _Answer:
    """Where a waiting task finds what became of its command."""

    ready: trio.Event = field(default_factory=trio.Event)
    value: object = None
    error: RuleError | PeerdError | None = None

    def give(self, value: object) -> None:
        self.value = value
        self.ready.set()

    def refuse(self, error: RuleError | PeerdError) -> None:
        self.error = error
        self.ready.set()

    async def wait(self) -> object:
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(slots=True)
class _Event:
    event: Input
    answer: _Answer | None = None


class GroupRunner:
    """Drives one group's machine over one store."""

    def __init__(
        self, machine: GroupMachine, store: RunnerStore, *, clock: Clock, offload: Offload, perform: Perform
    ) -> None:
        """`perform` carries outputs out without waiting; it is called after their transaction is durable."""
        self._machine = machine
        self._store = store
        self._clock = clock
        self._offload = offload
        self._perform = perform
        self._inbox_in, self._inbox = trio.open_memory_channel[_Event](INBOX_EVENTS_MAX)
        self._turn = trio.Lock()
        self._refusal: PeerdError | None = None
        self._closed = False

    async def post(self, event: Input) -> None:
        """Hand over something that happened; waits while the inbox is full. Raises: as `refusing` says, and
        NotReady("group-closed") after the end.
        """
        await self._put(_Event(event))

    async def submit(self, command: Input) -> Any:
        """Hand over a command and wait until its outcome is durable. Raises: RuleError; StoreError when it
        could not be made durable; and as `post`.
        """
        answer = _Answer()
        await self._put(_Event(command, answer))
        return await answer.wait()

    async def ask(self, question: Callable[[ActSet], T]) -> T:
        """Read machine and store between two turns of the crank. Raises: NotReady after the end, and what
        `question` raises.
        """
        async with self._turn:
            if self._closed:
                raise _group_closed()
            return question(self._store)

    @contextmanager
    def refusing(self, error: PeerdError) -> Iterator[None]:
        """A time in which `run` does not run: reading goes on, and all else is told `error`."""
        self._refusal = error
        try:
            yield
        finally:
            self._refusal = None

    async def _put(self, item: _Event) -> None:
        if self._refusal is not None:
            raise _again(self._refusal)
        try:
            await self._inbox_in.send(item)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise _group_closed() from None

    async def run(self) -> None:
        """Turn the crank until cancelled. Raises: StoreError, after which this group must be opened anew."""
        try:
            while True:
                batch = await self._take()
                with trio.CancelScope(shield=True):  # what was taken is finished
                    async with self._turn:
                        await self._crank(batch)
        finally:
            self._closed = True
            self._refuse_the_rest()

    async def _take(self) -> list[_Event]:
        """Wait for something to do, or for the machine's next deadline; then take all that waits."""
        due = self._machine.next_deadline(self._clock.moment())
        # A millisecond later than the deadline, so that rounding never makes it a moment before.
        with trio.CancelScope(deadline=math.inf if due is None else (due + 1) / 1000):
            batch = [await self._inbox.receive()]
            while len(batch) < CRANK_EVENTS_MAX:
                try:
                    batch.append(self._inbox.receive_nowait())
                except trio.WouldBlock:
                    break
            return batch
        return [_Event(Tick())]

    async def _crank(self, batch: Sequence[_Event]) -> None:
        """One turn."""
        try:
            outputs, answers = await self._transact(batch)
        except BaseException as error:
            self._closed = True
            for item in batch:
                if item.answer is not None:
                    item.answer.refuse(_again(error) if isinstance(error, StoreError) else _group_closed())
            raise
        self._perform(outputs)
        for answer, value in answers:
            answer.give(value)

    async def _transact(self, batch: Sequence[_Event]) -> tuple[list[Output], list[tuple[_Answer, object]]]:
        """Decide all events and make the outcome durable. What a rule refuses changes nothing and is told at
        once.
        """
        outputs: list[Output] = []
        answers: list[tuple[_Answer, object]] = []
        self._store.begin()
        try:
            held_since = trio.current_time()
            for item in batch:
                if trio.current_time() - held_since > _TURN_HELD_S:
                    await trio.lowlevel.checkpoint()  # the turn is still ours
                    held_since = trio.current_time()
                try:
                    decided = self._machine.handle(item.event, self._clock.moment(), self._store)
                except RuleError as error:
                    assert item.answer is not None, item.event
                    item.answer.refuse(error)
                    continue
                outputs += decided
                if item.answer is not None:
                    answers.append((item.answer, _result(decided)))
            self._store.flush()
            await self._offload(self._store.commit)
        except BaseException:
            self._store.rollback()
            raise
        return outputs, answers

    def _refuse_the_rest(self) -> None:
        """Nobody waits for ever: what was not handled when the group closed is refused."""
        while True:
            try:
                item = self._inbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            if item.answer is not None:
                item.answer.refuse(_group_closed())
        self._inbox.close()


def _result(outputs: Sequence[Output]) -> object:
    return next((output.value for output in outputs if isinstance(output, Result)), None)


def _group_closed() -> NotReady:
    return NotReady("the group is being closed on this node", code="group-closed")


def _again(error: PeerdError) -> PeerdError:
    """The same error for one more task: one that is raised twice would mix up where it came from."""
    return type(error)(error.detail, code=error.code, hint=error.hint)
