"""Issue: the group's machine signs what its user asked for, as the next acts of this store's own chains.

A store signs on a chain of its own for each author (its identity, and the root where it holds the root's
key), so that one identity on two machines never forks. A chain is begun by the first act, and anew when its
last act lies more than five minutes ahead of the clock: otherwise one slip of the clock would push every
later act into the future (authority-rules.md, "A signer starts a new chain if …").

All or nothing: every request of a call is planned before the first act is signed, and nothing of the state
changes before all are signed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, Place, sign_act
from protocol.authority.bodies import Kind, PropertiesBody
from protocol.authority.elements import Der
from protocol.authority.issuing import Issuer, choose_issuer, plan_grant, write_grant
from protocol.authority.root import Root
from protocol.authority.view import View
from protocol.codec import encode
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import check_comment, check_friendly_name
from protocol.errors import RuleError
from protocol.ids import CHAIN_BYTES
from protocol.limits import ELEMENTS_PER_FRAME_MAX, HLC_AHEAD_MS_MAX, LEVEL_ROOT, SETTING_BYTES_MAX
from protocol.machines.events import Issue, SetProperties
from protocol.peer_time import Moment, hlc_ms, next_hlc


@dataclass(slots=True)
class _Pen:
    """Writes the next acts of one chain, one after the other. `hlc` is the last one given out."""

    gid: bytes
    author: bytes
    chain: bytes
    seq: int
    prev: bytes | None
    hlc: int

    def next_hlc(self, now: Moment) -> int:
        """The time of the next act."""
        self.hlc = next_hlc(now.utc_ms, self.hlc)
        return self.hlc

    def place(self, issuer: Issuer, hlc: int) -> Place:
        """Where the next act stands."""
        return Place(self.gid, self.author, self.chain, self.seq, self.prev, issuer.level, issuer.cred, hlc)

    def note(self, act: Act) -> None:
        """Go on from an act just signed."""
        self.seq, self.prev = self.seq + 1, act.id


class Issuing:
    """The signing half of one group's machine."""

    def __init__(self, own: PrivateKey, rng: random.Random) -> None:
        """`rng` draws new chains."""
        self._own = own
        self._rng = rng

    def issue(self, command: Issue, view: View, now: Moment, store: ActSet) -> list[tuple[Act, Der]]:
        """Sign one grant for each request. Raises: RuleError, with nothing changed."""
        _check_ready(view)
        names = [request.subject for request in command.requests]
        if not 1 <= len(names) <= ELEMENTS_PER_FRAME_MAX or len(dict.fromkeys(names)) != len(names):
            raise RuleError(
                "invalid-argument", f"one call issues to 1 to {ELEMENTS_PER_FRAME_MAX} different subjects"
            )
        pens: dict[bytes, _Pen] = {}
        plans = []
        for request in command.requests:
            issuer = choose_issuer(view, self._own, command.root, request, now.utc_s)
            pen = self._pen(pens, issuer, view, now, store)
            hlc = pen.next_hlc(now)
            plans.append((plan_grant(view, issuer, request, hlc), issuer, pen, hlc))
        issued = []
        for plan, issuer, pen, hlc in plans:
            act, der = write_grant(plan, issuer, pen.place(issuer, hlc))
            pen.note(act)
            issued.append((act, der))
        _keep_chains(pens, store)
        return issued

    def set_properties(self, command: SetProperties, view: View, now: Moment, store: ActSet) -> Act:
        """Sign the group's properties with some of them changed. Raises: RuleError, with nothing changed."""
        root = _check_ready(view)
        if command.root.public.pid not in root.operating:
            raise RuleError("no-key-access", "the key given is not an operating key of the group's root")
        body = changed_properties(view.properties, command.changes)
        issuer = Issuer(command.root, LEVEL_ROOT, root.rotation, None)
        pens: dict[bytes, _Pen] = {}
        pen = self._pen(pens, issuer, view, now, store)
        act = sign_act(pen.place(issuer, pen.next_hlc(now)), Kind.PROPERTIES, body, [command.root])
        _keep_chains(pens, store)
        return act

    def _pen(self, pens: dict[bytes, _Pen], issuer: Issuer, view: View, now: Moment, store: ActSet) -> _Pen:
        author = view.gid if issuer.grant is None else issuer.signer.public.pid
        if author not in pens:
            pens[author] = self._next_in_chain(author, view, now, store)
        return pens[author]

    def _next_in_chain(self, author: bytes, view: View, now: Moment, store: ActSet) -> _Pen:
        chain = store.setting(_setting(author))
        head = None if chain is None else view.head(author, chain)
        if chain is None or (head is not None and hlc_ms(head.hlc) > now.utc_ms + HLC_AHEAD_MS_MAX):
            return _Pen(view.gid, author, self._rng.randbytes(CHAIN_BYTES), 1, None, 0)
        if head is None:
            return _Pen(view.gid, author, chain, 1, None, 0)
        return _Pen(view.gid, author, chain, head.seq + 1, head.id, head.hlc)


def _setting(author: bytes) -> str:
    return f"chain/{author[:16].hex()}"


def _keep_chains(pens: Mapping[bytes, _Pen], store: ActSet) -> None:
    for author, pen in pens.items():
        if store.setting(_setting(author)) != pen.chain:
            store.set_setting(_setting(author), pen.chain)


def keep_chain(author: bytes, chain: bytes, store: ActSet) -> None:
    """Remember a chain that was begun outside of the machine: the root's, by genesis."""
    store.set_setting(_setting(author), chain)


def _check_ready(view: View) -> Root:
    if view.root is None:
        raise RuleError(
            "group-not-ready",
            "the group's acts have not arrived on this node yet",
            hint="connect to a member first: peerd group connect",
        )
    return view.root


def changed_properties(before: PropertiesBody, changes: Mapping[str, Any]) -> PropertiesBody:
    """The properties after some changes. Raises: RuleError(invalid-properties, invalid-friendly-name)."""
    if "friendly" in changes:
        check_friendly_name(changes["friendly"])
    if "comment" in changes:
        check_comment(changes["comment"])
    merged = {**msgspec.to_builtins(before, builtin_types=(bytes,)), **changes}
    try:
        body = msgspec.convert(merged, PropertiesBody, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise RuleError("invalid-properties", f"the properties are not acceptable: {error}") from None
    unknown = sorted(merged.keys() - set(PropertiesBody.__struct_fields__))
    if unknown:
        raise RuleError("invalid-properties", f"there is no property {unknown[0]}")
    if len(encode(msgspec.to_builtins(body, builtin_types=(bytes,)))) > SETTING_BYTES_MAX // 2:
        raise RuleError("invalid-properties", "the properties are too large to travel")
    return body
