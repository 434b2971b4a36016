"""One open group on this node: machine, store, runner and neighbors put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from peerd.clock import Clock
from peerd.errors import StoreError
from peerd.gossip.checking import Checker
from peerd.gossip.neighbors import DialOut, Neighbors
from peerd.gossip.offload import Offload
from peerd.gossip.replication import Replication
from peerd.gossip.runner import GroupRunner, RunnerStore
from peerd.transport.frames import FrameChannel
from peerd.transport.slots import Slot
from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.ids import AUTHORITY_BYTES
from protocol.machines.connect import Established
from protocol.machines.events import Adopt, LearnRemoval, Notice, Output, Replicated, Stop
from protocol.machines.group import GroupMachine

T = TypeVar("T")
Tell = Callable[[Notice], None]


class GroupPort:
    """The group as the handshake sees it. Its answers are of one durable state inside `decide` only."""

    def __init__(self, machine: GroupMachine, store: RunnerStore, runner: GroupRunner) -> None:
        """Reads the machine; changes it through the runner."""
        self._machine = machine
        self._store = store
        self._runner = runner

    @property
    def authority(self) -> bytes:
        """The group authority (20 bytes)."""
        return self._machine.members.view.gid[:AUTHORITY_BYTES]

    @property
    def node_id(self) -> bytes:
        """This store's node id (16 bytes)."""
        return self._machine.node_id

    def own_key(self) -> PrivateKey:
        """The identity under which the group is open."""
        return self._machine.own

    def own_bundle(self, at_s: int) -> bytes:
        """Evidence of the own credential, or of the last one there was."""
        return self._machine.members.own_bundle(at_s, self._store)

    def is_member(self, pid: bytes, at_s: int) -> bool:
        """Whether the view says so."""
        return self._machine.members.view.current(pid, at_s) is not None

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        """Evidence of the best stored credential of a key."""
        return self._machine.members.bundle_for(pid, at_s, self._store)

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        """Whether a bundle makes its subject a member."""
        return self._machine.members.accepts(bundle, at_s)

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        """The proof that a key has been removed."""
        return self._machine.members.removal_proof(pid, shown, self._store)

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        """Whether a removal of our own key counts here, and leaves us nothing to go by."""
        return self._machine.members.is_removed_by(proof, at_s)

    async def decide(self, question: Callable[[], T]) -> T:
        """Call `question` between two turns of the crank."""
        return await self._runner.ask(lambda _: question())

    async def adopt(self, bundle: Bundle) -> None:
        """Keep a credential of our own that a neighbor handed over."""
        await self._runner.submit(Adopt(bundle, "pickup"))

    async def learn(self, removal: RemovalProof) -> None:
        """Keep the proof that our own key has been removed."""
        await self._runner.submit(LearnRemoval(removal))


class GroupNode:
    """Everything that runs for one open group."""

    def __init__(
        self,
        machine: GroupMachine,
        store: RunnerStore,
        *,
        dial: DialOut,
        clock: Clock,
        offload: Offload,
        check: Checker,
        tell: Tell,
    ) -> None:
        """`machine` has been loaded from `store`; `tell` gets every notice after it is durable."""
        self.machine = machine
        self.store = store
        self.runner = GroupRunner(machine, store, clock=clock, offload=offload, perform=self._perform)
        self.replication = Replication(machine.replicas.count)
        self.port = GroupPort(machine, store, self.runner)
        self._neighbors = Neighbors(
            self.port,
            self.runner.post,
            holds=machine.members.holds_untrusted,
            holds_record=machine.has_whole,
            dial=dial,
            clock=clock,
            offload=offload,
            check=check,
        )
        self._tell = tell

    async def run(self) -> None:
        """Run until cancelled. Raises: StoreError, after which the group must be opened anew."""
        failure = None
        try:
            async with trio.open_nursery() as nursery:
                self._neighbors.start(nursery)
                try:
                    await self.runner.run()
                except StoreError as error:
                    failure = error
                    nursery.cancel_scope.cancel()
        finally:
            self._neighbors.close()
        if failure is not None:
            raise failure

    async def stop(self) -> None:
        """Say goodbye to all neighbors, and wait until that is said. Raises: NotReady after the end."""
        await self.runner.submit(Stop())
        await self._neighbors.wait_gone()

    async def serve(self, channel: FrameChannel, peer: Established, slot: Slot) -> None:
        """Take over a connection that a neighbor made."""
        if slot.promote():
            await self._neighbors.serve(channel, peer, None)

    def _perform(self, outputs: Sequence[Output]) -> None:
        self._neighbors.perform(outputs)
        for output in outputs:
            if isinstance(output, Notice):
                self._tell(output)
            elif isinstance(output, Replicated):
                self.replication.grown()
