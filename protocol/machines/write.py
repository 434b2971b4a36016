"""Write: the versions that this node signs for its user.

A version is dated by the clock, later than the version that it replaces, so that who has read something and
changes it wins over what was read. It is written under the credential that this node goes by, which must be
in AUTH, or nobody could judge it. Everything is checked before anything is signed, by the same rules that a
receiver applies, and a few more: nobody is told "done" for what others would leave out.

Refreshing: a record of the expiring class that its writer wants refreshed is written again, with the same
content, when a third of its life is left, for as long as the writer's daemon runs and its credential allows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from protocol.authority.grants import Grant
from protocol.authority.issuers import check_clock
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN
from protocol.errors import RuleError
from protocol.limits import BODY_BYTES_MAX, EXPIRING_LIFE_S_MAX, HEADER_LIFE_S
from protocol.machines.events import AddRecord, DeleteRecord, UpdateRecord
from protocol.machines.group_time import GroupTime
from protocol.machines.quotas import Quota
from protocol.machines.record_keeping import header_in
from protocol.machines.record_waiting import is_ahead
from protocol.peer_time import Moment, hlc_ms, hlc_s, next_hlc
from protocol.records.attributes import Attribute, canonical_attributes
from protocol.records.record import (
    VERSION_MAX,
    Header,
    RecordItem,
    body_hash_of,
    new_record_id,
    sign_header,
)
from protocol.records.record_set import GroupSet, State
from protocol.records.reserved import MANIFEST_TYPE, check_user_type, is_reserved

_RANDOM_BYTES = 8


@dataclass(frozen=True, slots=True)
class Pen:
    """What a write needs besides the wish: the credential that it is written under, and where it goes."""

    view: View
    grant: Grant | None
    quota: Quota
    time: GroupTime
    now: Moment
    store: GroupSet


@dataclass(frozen=True, slots=True)
class _Draft:
    """A version before it is dated and signed; `before` is the one that it replaces."""

    type: str
    record_id: bytes
    creator: bytes
    expires: int | None
    before: Header | None = None
    attributes: tuple[Attribute, ...] = ()
    body_hash: bytes | None = None
    size: int = 0
    deleted: bool = False

    def with_body(self, body: bytes) -> _Draft:
        """With this content; empty is none."""
        if not body:
            return replace(self, body_hash=None, size=0)
        return replace(self, body_hash=body_hash_of(body), size=len(body))


def _same(before: Header, expires: int | None) -> _Draft:
    return _Draft(
        before.type,
        before.record_id,
        before.creator,
        expires,
        before,
        before.attributes,
        before.body_hash,
        before.size,
        before.deleted,
    )


class Writing:
    """Signs the versions that one identity writes in one group. Every method raises RuleError, with nothing
    changed, for a wish that the rules refuse.
    """

    def __init__(self, own: PrivateKey, rng: random.Random) -> None:
        """`rng` draws record ids."""
        self._own = own
        self._rng = rng
        self._last_hlc = 0

    def add(self, wish: AddRecord, pen: Pen) -> RecordItem:
        """The first version of a new record."""
        check_user_type(wish.record_type)
        durable = wish.expires is None
        if wish.auto_refresh and durable:
            raise RuleError(
                "invalid-argument",
                "only a record that expires is refreshed",
                hint="leave out --auto-refresh: a record without an end lives until it is deleted",
            )
        own = self._own.public.pid
        record_id = new_record_id(pen.view.gid, own, durable, self._rng.randbytes(_RANDOM_BYTES))
        if pen.store.ids_of(own) >= pen.quota.ids:
            raise RuleError(
                "quota-exceeded",
                f"this identity has {pen.quota.ids} records in the group already, deleted ones counted",
                hint="use other records again: peerd record update GROUP ID",
            )
        _check_body(wish.body, pen.store.bytes_of(own), pen)
        draft = _Draft(wish.record_type, record_id, own, wish.expires).with_body(wish.body)
        draft = replace(draft, attributes=canonical_attributes(wish.attributes))
        return RecordItem(self._sign(draft, pen), wish.body or None)

    def update(self, wish: UpdateRecord, pen: Pen) -> RecordItem:
        """A version that changes a record."""
        before = self._writable(wish.record_id, wish.if_version, pen)
        draft = _same(before, self._new_end(before, wish, pen))
        if wish.attributes is not None:
            draft = replace(draft, attributes=canonical_attributes(wish.attributes))
        if wish.body is not None:
            _check_body(wish.body, self._bytes_besides(before, pen), pen)
            draft = draft.with_body(wish.body)
        return RecordItem(self._sign(draft, pen), wish.body or None)

    def _bytes_besides(self, before: Header, pen: Pen) -> int:
        """What counts against the creator of a record once the version of ours that is kept has made way."""
        own = self._own.public.pid
        ours = [
            header_in(pen.store, one.id)
            for one in pen.store.versions(before.record_id)
            if one.state is State.KEPT and one.author == own
        ]
        held = (one for one in ours if one.body_hash is not None and pen.store.has_body(one.body_hash))
        return pen.store.bytes_of(before.creator) - sum(one.size for one in held)

    def _new_end(self, before: Header, wish: UpdateRecord, pen: Pen) -> int | None:
        if before.expires is None:
            if wish.expires is not None or wish.auto_refresh:
                raise _bad_end(
                    "this record lives until it is deleted, and cannot be given an end",
                    "delete it, and add one that expires: peerd record add --valid",
                )
            return None
        if wish.expires is not None and wish.expires < before.expires:
            raise _bad_end(
                "the end of a record can only be put off",
                "delete the record if it should be gone: peerd record delete GROUP ID",
            )
        # Whoever changes it may have a credential that ends sooner than the one before.
        return wish.expires or _end_within(before.expires, self._date(before.hlc, pen), pen)

    def delete(self, wish: DeleteRecord, pen: Pen) -> RecordItem:
        """A version that deletes a record."""
        before = self._writable(wish.record_id, wish.if_version, pen)
        expires = before.expires
        if expires is not None:
            expires = _end_within(expires, self._date(before.hlc, pen), pen)
        draft = _Draft(before.type, before.record_id, before.creator, expires, before, deleted=True)
        return RecordItem(self._sign(draft, pen))

    def again(self, before: Header, pen: Pen, expires: int | None = None) -> RecordItem:
        """The same content in a new version, dated now, with a later end if `expires` says so. One that
        deletes deletes again.
        """
        if before.expires is not None:
            expires = _end_within(max(expires or 0, before.expires), self._date(before.hlc, pen), pen)
        return RecordItem(self._sign(_same(before, expires), pen))

    def redated(self, before: Header, pen: Pen) -> RecordItem:
        """The same content dated now and with the same life, though `before` is dated ahead of it."""
        others = (one.hlc for one in pen.store.versions(before.record_id))
        sound = (hlc for hlc in others if not is_ahead(hlc, pen.now.utc_ms))
        hlc = self._date(max(sound, default=0), pen)
        life_s = None if before.expires is None else before.expires - before.hlc_s
        expires = None if life_s is None else _end_within(hlc_s(hlc) + life_s, hlc, pen)
        return RecordItem(self._sign(_same(before, expires), pen, hlc))

    def manifest(self, body: bytes, pen: Pen) -> RecordItem:
        """The record that carries the list of the versions that a revocation lets stand."""
        own = self._own.public.pid
        record_id = new_record_id(pen.view.gid, own, True, self._rng.randbytes(_RANDOM_BYTES))
        draft = _Draft(MANIFEST_TYPE, record_id, own, None).with_body(body)
        return RecordItem(self._sign(draft, pen), body)

    def reserved(self, record_type: str, record_id: bytes, body: bytes, expires: int, pen: Pen) -> RecordItem:
        """A version of one of peerd's own records, which this identity has under a fixed id."""
        assert is_reserved(record_type)
        kept = [one for one in pen.store.versions(record_id) if one.state is State.KEPT]
        before = header_in(pen.store, max(kept, key=lambda one: one.hlc).id) if kept else None
        end = _end_within(expires, self._date(0 if before is None else before.hlc, pen), pen)
        draft = _Draft(record_type, record_id, self._own.public.pid, end, before).with_body(body)
        return RecordItem(self._sign(draft, pen), body)

    # --- checks --------------------------------------------------------------------------------------------

    def _writable(self, record_id: bytes, if_version: bytes | None, pen: Pen) -> Header:
        """The version shown, if this identity may replace it."""
        shown = pen.store.shown(record_id)
        if shown is None:
            known = [one for one in pen.store.versions(record_id) if one.state is State.KEPT]
            raise RuleError(
                "record-deleted" if known else "record-not-found",
                "the record was deleted, or has expired" if known else "there is no such record here",
                hint="peerd record list GROUP",
            )
        if if_version is not None and if_version != shown:
            raise RuleError(
                "version-conflict",
                "the record has been changed since",
                hint="read it again, and decide anew: peerd record get GROUP ID",
            )
        header = header_in(pen.store, shown)
        check_user_type(header.type)
        grant = _grant(pen)
        if header.creator != self._own.public.pid and ADMIN not in grant.roles:
            raise RuleError(
                "not-authorized",
                "only the creator of a record and administrators may change it",
                hint="ask an administrator: peerd member list GROUP",
            )
        return header

    # --- signing -------------------------------------------------------------------------------------------

    def _date(self, before: int, pen: Pen) -> int:
        """The hlc for a version that replaces one of the hlc `before`. One that others would not take yet is
        not written.
        """
        _check_clock(pen)
        last = self._last_hlc if hlc_ms(self._last_hlc) <= pen.now.utc_ms else 0  # the clock was set back
        hlc = next_hlc(pen.now.utc_ms, max(last, before))
        if is_ahead(hlc, pen.now.utc_ms):
            raise RuleError(
                "clock-not-trusted",
                "the version that is here is dated ahead of this machine's clock",
                hint="look at the clocks of those who write: peerd status",
            )
        return hlc

    def _sign(self, draft: _Draft, pen: Pen, hlc: int | None = None) -> Header:
        """Date and sign a version, by `hlc` if that is given."""
        grant, before = _grant(pen), draft.before
        if hlc is None:
            hlc = self._date(0 if before is None else before.hlc, pen)
        if not grant.window.holds(hlc_s(hlc)):
            raise RuleError(
                "clock-not-trusted",
                "the version that is here is dated after the end of this credential",
                hint="look at the clocks of those who write: peerd status",
            )
        if draft.expires is not None:
            _check_end(draft.expires, hlc, pen)
        self._last_hlc = hlc
        return sign_header(
            self._own,
            gid=pen.view.gid,
            record_id=draft.record_id,
            type=draft.type,
            creator=draft.creator,
            cred=grant.act_id,
            created=hlc if before is None else min(before.created, hlc),
            hlc=hlc,
            version=1 if before is None else min(before.version + 1, VERSION_MAX),
            expires=draft.expires,
            deleted=draft.deleted,
            attributes=draft.attributes,
            body_hash=draft.body_hash,
            size=draft.size,
        )


def _grant(pen: Pen) -> Grant:
    """The credential to write under, if others can judge by it."""
    if pen.grant is None:
        raise RuleError(
            "not-authorized",
            "this identity has no credential of the group that is valid now",
            hint="peerd status shows what it has; an administrator can renew it",
        )
    if pen.view.admitted(pen.grant.act_id) is None:
        raise RuleError(
            "group-not-ready",
            "the group's data has not arrived on this node yet",
            hint="wait until this node has synchronized: peerd status",
        )
    return pen.grant


def _check_clock(pen: Pen) -> None:
    """Refuse to sign by a clock that the group contradicts."""
    check_clock(pen.view, pen.now)
    difference = pen.time.contradiction_ms
    if difference is not None:
        ahead = "ahead of" if difference < 0 else "behind"
        raise RuleError(
            "clock-not-trusted",
            f"this machine's clock is {abs(difference) // 1000} seconds {ahead} its neighbors' clocks",
            hint="set the clock, then try again",
        )


def _check_body(body: bytes, besides: int, pen: Pen) -> None:
    """`besides` are the bytes that count against the record's creator already."""
    if len(body) > BODY_BYTES_MAX:
        raise RuleError(
            "record-too-large",
            f"the data has {len(body)} bytes, and a record takes {BODY_BYTES_MAX}",
            hint="cut it into several records",
        )
    if body and besides + len(body) > pen.quota.bytes:
        raise RuleError(
            "quota-exceeded",
            f"the data of this record's creator would be more than {pen.quota.bytes} bytes",
            hint="delete records that are no longer needed: peerd record delete GROUP ID",
        )


def _end_within(expires: int, hlc: int, pen: Pen) -> int:
    """The end nearest to `expires` that the rules allow for a version of this hlc."""
    latest = min(hlc_s(hlc) + EXPIRING_LIFE_S_MAX, _grant(pen).window.end)
    return min(max(expires, max(hlc_s(hlc), pen.time.now_s(pen.now)) + 2), latest)


def _check_end(expires: int, hlc: int, pen: Pen) -> None:
    written_s, grant = hlc_s(hlc), _grant(pen)
    if written_s + HEADER_LIFE_S <= pen.time.certain_s(pen.now):
        raise RuleError(
            "clock-not-trusted",
            "by this machine's clock the record would be older than the group keeps any",
            hint="set the clock, then try again",
        )
    if expires <= max(written_s, pen.time.now_s(pen.now)):
        raise _bad_end("a record cannot have expired already", "choose a later end")
    if expires > written_s + EXPIRING_LIFE_S_MAX:
        days = EXPIRING_LIFE_S_MAX // 86_400
        raise _bad_end(
            f"a record expires after {days} days at most",
            "leave out the end for one that lives until it is deleted, or refresh it: --auto-refresh",
        )
    if expires > grant.window.end:
        raise _bad_end(
            "a record cannot outlive the credential of who writes it",
            "choose an end before that of your credential: peerd status",
        )


def _bad_end(detail: str, hint: str) -> RuleError:
    return RuleError("invalid-record-expiration", detail, hint=hint)
