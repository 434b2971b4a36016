"""The crank: the only place that turns a group's machine.

Commit, then speak. One task per group takes what waits, lets the machine handle each event inside one
transaction, commits once in a worker thread, and only then performs the outputs, rings the bell for
applications and answers commands. Nothing else touches machine or store while a transaction is open, so there
are no locks: who wants to read asks (`ask`) and is answered between two turns, from what is committed.

Events are taken one by one from a bounded inbox. Who posts waits when it is full: a neighbor that sends
faster than this group can store is slowed by its own connection and slows nobody else.

When the store fails, the machine is ahead of the disk. The runner then raises; the group closes and is opened
again from disk, or the daemon ends: nothing goes on with a state that cannot be trusted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import trio

from peerd.clock import Clock
from peerd.errors import NotReady
from peerd.gossip.offload import Offload
from protocol.authority.act_set import ActSet, ActStore
from protocol.errors import RuleError
from protocol.limits import CRANK_EVENTS_MAX, INBOX_EVENTS_MAX
from protocol.machines.events import Input, Output, Result, Tick
from protocol.machines.group import GroupMachine

T = TypeVar("T")


@dataclass(slots=True)
class _Answer(Generic[T]):
    """Where a waiting task finds what became of its wish."""

    ready: trio.Event = field(default_factory=trio.Event)
    value: T | None = None
    error: RuleError | NotReady | None = None

    def give(self, value: T) -> None:
        self.value = value
        self.ready.set()

    def refuse(self, error: RuleError | NotReady) -> None:
        self.error = error
        self.ready.set()

    async def wait(self) -> T:
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # T may be None itself


@dataclass(slots=True)
class _Event:
    event: Input
    answer: _Answer[Any] | None = None


@dataclass(slots=True)
class _Question(Generic[T]):
    ask: Callable[[ActSet], T]
    answer: _Answer[T]


Perform = Callable[[Sequence[Output]], None]


class GroupRunner:
    """Drives one group's machine over one store."""

    def __init__(
        self, machine: GroupMachine, store: ActStore, *, clock: Clock, offload: Offload, perform: Perform
    ) -> None:
        """`perform` carries outputs out without waiting; it is called after their transaction is durable."""
        self._machine = machine
        self._store = store
        self._clock = clock
        self._offload = offload
        self._perform = perform
        self._inbox_in, self._inbox = trio.open_memory_channel[_Event | _Question[Any]](INBOX_EVENTS_MAX)
        self._closed = False

    async def post(self, event: Input) -> None:
        """Hand over something that happened; waits while the inbox is full. Raises: NotReady after the end."""
        await self._put(_Event(event))

    async def submit(self, command: Input) -> Any:
        """Hand over a command and wait until its outcome is durable. Raises: RuleError, NotReady."""
        answer: _Answer[Any] = _Answer()
        await self._put(_Event(command, answer))
        return await answer.wait()

    async def ask(self, question: Callable[[ActSet], T]) -> T:
        """Read machine and store between two turns. Raises: NotReady, and RuleError as `question` does."""
        answer: _Answer[T] = _Answer()
        await self._put(_Question(question, answer))
        return await answer.wait()

    async def _put(self, item: _Event | _Question[Any]) -> None:
        if self._closed:
            raise _group_closed()
        try:
            await self._inbox_in.send(item)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise _group_closed() from None

    async def run(self) -> None:
        """Turn the crank until cancelled. Raises: StoreError, after which this group must be opened anew."""
        try:
            while True:
                await self._turn(await self._take())
        finally:
            self._refuse_the_rest()

    async def _take(self) -> list[_Event | _Question[Any]]:
        """Wait for something to do, or for the machine's next deadline; then take all that waits."""
        due = self._machine.next_deadline(self._clock.moment())
        # A millisecond later than the deadline, so that rounding never makes it a moment before.
        with trio.CancelScope(deadline=math.inf if due is None else (due + 1) / 1000):
            items = [await self._inbox.receive()]
            while len(items) < CRANK_EVENTS_MAX:
                try:
                    items.append(self._inbox.receive_nowait())
                except trio.WouldBlock:
                    break
            return items
        return [_Event(Tick())]

    async def _turn(self, items: Sequence[_Event | _Question[Any]]) -> None:
        events = [item for item in items if isinstance(item, _Event)]
        if events:
            await self._transact(events)
        for item in items:
            if isinstance(item, _Question):
                self._reply(item)

    async def _transact(self, events: Sequence[_Event]) -> None:
        outputs: list[Output] = []
        answers: list[tuple[_Answer[Any], object]] = []
        self._store.begin()
        try:
            for item in events:
                try:
                    decided = self._machine.handle(item.event, self._clock.moment(), self._store)
                except RuleError as error:
                    if item.answer is None:
                        raise
                    item.answer.refuse(error)
                    continue
                outputs += decided
                if item.answer is not None:
                    answers.append((item.answer, _result(decided)))
            with trio.CancelScope(shield=True):
                await self._offload(self._store.commit)
        except BaseException:
            self._store.rollback()
            raise
        self._perform(outputs)
        for answer, value in answers:
            answer.give(value)

    def _reply(self, item: _Question[Any]) -> None:
        try:
            item.answer.give(item.ask(self._store))
        except RuleError as error:
            item.answer.refuse(error)

    def _refuse_the_rest(self) -> None:
        """Nobody waits for ever: what was not handled when the group closed is refused."""
        self._closed = True
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
