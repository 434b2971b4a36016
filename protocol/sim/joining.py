"""Joining: a subject that knows the group's name and an address, and asks until its credential is there."""

from __future__ import annotations

import random
from collections.abc import Callable

from protocol.authority.bundle import Bundle
from protocol.authority.removal_proof import RemovalProof
from protocol.credentials.keys import PrivateKey
from protocol.ids import NODE_ID_BYTES
from protocol.limits import PICKUP_POLL_MS_MAX, PICKUP_POLL_MS_MIN
from protocol.machines.connect import Caller, Established
from protocol.machines.events import DialOutcome, LinkId
from protocol.machines.pickup import Group
from protocol.peer_time import Moment
from protocol.sim.network import End, Network
from protocol.sim.node import EPOCH_MS
from protocol.sim.opening import Opening, Owner
from protocol.sim.schedule import Schedule
from protocol.sim.trace import Trace


class _Port(Group):
    """A group of which only the name is known, as the handshake sees it."""

    def __init__(self, authority: bytes, key: PrivateKey, node_id: bytes) -> None:
        self._authority = authority
        self._key = key
        self._node_id = node_id
        self.bundle: Bundle | None = None

    @property
    def authority(self) -> bytes:
        return self._authority

    @property
    def node_id(self) -> bytes:
        return self._node_id

    def own_key(self) -> PrivateKey:
        return self._key

    def own_bundle(self, at_s: int) -> bytes:
        return b"" if self.bundle is None else self.bundle.raw

    def is_member(self, pid: bytes, at_s: int) -> bool:
        return False

    def bundle_for(self, pid: bytes, at_s: int) -> bytes:
        return b""

    def accepts(self, bundle: Bundle, at_s: int) -> bool:
        return bundle.gid.startswith(self._authority) and bundle.leaf.window.holds(at_s)

    def removal_proof(self, pid: bytes, shown: Bundle | None) -> bytes:
        return b""

    def is_removed_by(self, proof: RemovalProof, at_s: int) -> bool:
        return False


class Joiner(Owner):
    """Asks one address after the other; `joined` gets the credential."""

    def __init__(
        self,
        name: str,
        key: PrivateKey,
        authority: bytes,
        addresses: tuple[str, ...],
        joined: Callable[[Bundle], None],
        *,
        schedule: Schedule,
        network: Network,
        trace: Trace,
        rng: random.Random,
    ) -> None:
        """`authority` is the 20 bytes of the group's name."""
        self.name = name
        self.up = True
        self.life = 1
        self.asked = 0  # how often an address was called
        self._port = _Port(authority, key, rng.randbytes(NODE_ID_BYTES))
        self._addresses = addresses
        self._joined = joined
        self._schedule = schedule
        self._network = network
        self._trace = trace
        self._delay_ms = PICKUP_POLL_MS_MIN

    def start(self) -> None:
        """Ask until there is an answer."""
        self._trace.note(self._schedule.now_ms, self.name, "asks for its credential")
        self._ask(0)

    def _ask(self, index: int) -> None:
        if index == len(self._addresses):
            self.later(self._delay_ms, lambda: self._ask(0))
            self._delay_ms = min(PICKUP_POLL_MS_MAX, self._delay_ms * 2)
            return
        self.asked += 1
        self._network.call(self, self._addresses[index], lambda end: self._on_connected(index, end))

    def _on_connected(self, index: int, end: End | None) -> None:
        if end is None:
            self._ask(index + 1)
        else:
            Opening(self, end, Caller(self._port, end.exporter), str(index))

    def on_call(self, end: End) -> Opening:
        """See `network.Host`; nobody can find a joiner."""
        raise AssertionError("a joiner does not listen")

    # --- opening.Owner --------------------------------------------------------------------------------------

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        self._schedule.after(delay_ms, lambda: action() if self.up else None)

    def moment(self) -> Moment:
        """See `opening.Owner`."""
        return Moment(self._schedule.now_ms, EPOCH_MS + self._schedule.now_ms)

    def ask(self, question: Callable[[], None]) -> None:
        """See `opening.Owner`: there is no state to wait for."""
        self.later(0, question)

    def adopt(self, bundle: Bundle, then: Callable[[], None]) -> None:
        """See `opening.Owner`."""
        self._trace.note(self._schedule.now_ms, self.name, "has its credential")
        self._port.bundle = bundle
        self.up = False
        for end in self._network.ends_of(self.name):
            end.close()
        self._joined(bundle)

    def learn(self, removal: RemovalProof, then: Callable[[], None]) -> None:
        """See `opening.Owner`; a joiner has nothing to lose, and goes on asking."""
        raise AssertionError("a joiner does not believe that it was removed")

    def on_link(self, opening: Opening, peer: Established) -> LinkId:
        """See `opening.Owner`; a joiner is gone before there could be a link."""
        raise AssertionError("a joiner without a credential has a link")

    def on_message(self, link: LinkId, payload: bytes, sender: str) -> None:
        """See `opening.Owner`."""
        raise AssertionError("a joiner has no links")

    def on_link_end(self, link: LinkId) -> None:
        """See `opening.Owner`."""

    def on_dial_failed(self, address: str, outcome: DialOutcome) -> None:
        """See `opening.Owner`; the address is the number of the one that was asked."""
        if self.up:
            self._ask(int(address) + 1)
