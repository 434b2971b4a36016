"""A machine and a store that write down what is done to them, for tests of what drives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from peerd.clock import clock_from
from peerd.gossip.offload import Offload, inline
from peerd.gossip.runner import GroupRunner
from protocol.errors import RuleError
from protocol.machines.events import Disconnect, Input, LinkDown, Output, Result, Send, Tick
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment
from protocol.records.memory import MemoryStore
from protocol.wire.messages import KeepAlive
from tests.support.builders import NO_DATA

EPOCH_MS = 1_790_000_000_000
SAID = KeepAlive(0, bytes(16), 0, NO_DATA)


@dataclass
class ScriptedMachine:
    """Answers `LinkDown(n)` by writing n to the store and sending on link n; refuses 13; is mistaken at 99.

    A command (`Disconnect`) is given the number of its turn. `due_ms` is the next deadline; a Tick clears it.
    """

    journal: list[Any]
    due_ms: int | None = None
    turns: int = 0
    handled: list[Input] = field(default_factory=list)

    def handle(self, event: Input, now: Moment, store: MemoryStore) -> list[Output]:
        self.handled.append(event)
        self.journal.append(("handle", event))
        match event:
            case LinkDown(13):
                raise RuleError("invalid-argument", "thirteen")
            case LinkDown(99):
                raise AssertionError("a mistake of ours")
            case LinkDown(number):
                store.set_setting(f"link/{number}", b"down")
                return [Send(number, SAID), Result(number)]
            case Disconnect():
                self.turns += 1
                return [Result(self.turns)]
            case Tick():
                self.due_ms = None
            case _:
                pass
        return []

    def next_deadline(self, now: Moment) -> int | None:
        return self.due_ms


class JournalStore(MemoryStore):
    """Writes down when a transaction begins and ends; `fails` is raised by the next commit."""

    def __init__(self, journal: list[Any]) -> None:
        super().__init__()
        self.journal = journal
        self.fails: Exception | None = None

    def begin(self) -> None:
        super().begin()
        self.journal.append("begin")

    def commit(self) -> None:
        if self.fails is not None:
            raise self.fails
        super().commit()
        self.journal.append("commit")

    def rollback(self) -> None:
        super().rollback()
        self.journal.append("rollback")


class Stage:
    """A runner over both, and the journal of what happened in which order."""

    def __init__(self, offload: Offload = inline) -> None:
        """Call it inside a trio run."""
        self.journal: list[Any] = []
        self.machine = ScriptedMachine(self.journal)
        self.store = JournalStore(self.journal)
        self.performed: list[Output] = []
        self.runner = GroupRunner(
            cast(GroupMachine, self.machine),
            self.store,
            clock=clock_from(EPOCH_MS),
            offload=offload,
            perform=self._perform,
        )

    def _perform(self, outputs: Sequence[Output]) -> None:
        self.journal.append("perform")
        self.performed += outputs

    def order(self) -> list[str]:
        """The journal, one word for each entry."""
        return [entry if isinstance(entry, str) else entry[0] for entry in self.journal]


def raising(error: Exception) -> Callable[[object], object]:
    """A question that fails."""

    def ask(_: object) -> object:
        raise error

    return ask
