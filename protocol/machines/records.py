"""Records: which versions this node holds, and what its users see of them.

The only way into the set of records, for neighbors, files and users alike. A version is judged from what is
signed and from the view of AUTH (admission.py), and then

* *kept*, if it is among the best of its record (record_keeping.py), or set *aside*, if it does not count now,
* *held* until its author's grant has arrived, or *quarantined* until its time has come (record_waiting.py),
* left out, if its record's time is over,
* *refused*: no honest node would relay it, so the link that brought it closes.

When authority changes, the versions written under the grants concerned are judged again, and their records
settled anew. Bodies come with their headers or later; a header counts without its body.

Guards: one start with a wrong clock. What this node itself dated into the future is dated anew by `redate`
once neighbors confirm the clock, and what it took from others is let go: it comes again in its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from protocol.authority.act_set import ActSet
from protocol.authority.admission import Deferred, Invalid
from protocol.authority.view import View
from protocol.errors import RemoteProtocolError
from protocol.ids import split_ids
from protocol.limits import (
    ASIDE_TRIM_MS,
    HLC_AHEAD_MS_MAX,
    RECORDS_COLLECT_MS,
    RECORDS_EXPIRED_MAX,
    RECORDS_SETTLED_MAX,
    SETTING_BYTES_MAX,
)
from protocol.machines.data_ids import DataIds
from protocol.machines.group_time import GroupTime
from protocol.machines.quotas import Quota, quota_in
from protocol.machines.record_keeping import Change, Keeping, too_old
from protocol.machines.record_waiting import RecordWaiting, is_ahead
from protocol.peer_time import Moment, hlc_at
from protocol.records.admission import Valid, Verdict, Void, judge
from protocol.records.record import Header, RecordItem
from protocol.records.record_set import RecordSet, State, Version
from protocol.records.reserved import manifest_ids

_UNFINISHED = "to_judge"
_UNFINISHED_GRANTS_MAX = SETTING_BYTES_MAX // 32


class Store(ActSet, RecordSet, Protocol):
    """Both faces of a group's store."""


@dataclass(slots=True)
class RecordIntake:
    """What became of some versions.

    `fresh` are new in the set; `durable` the ids of all that are here with their bodies once this is
    committed;
    `wanted` are acts to ask the source for, `bodies` (hash, size) bodies to fetch from it; `late` counts what
    came after its time.
    """

    fresh: list[RecordItem] = field(default_factory=list)
    durable: list[bytes] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    wanted: list[bytes] = field(default_factory=list)
    bodies: list[tuple[bytes, int]] = field(default_factory=list)
    refused: str | None = None
    refusals: int = 0
    late: int = 0


class Records:
    """The records of one group, as this node sees them."""

    def __init__(self, view: View, time: GroupTime) -> None:
        """`view` and `time` are the machine's; `load` fills the rest from the store."""
        self.ids = DataIds()
        self._view = view
        self._time = time
        self._keeping = Keeping(self.ids)
        self._waiting = RecordWaiting()
        self._awaited: dict[bytes, dict[bytes, None]] = {}  # hash of a manifest -> the grants it decides on
        self._to_judge: dict[bytes, None] = {}  # grants whose versions are to be judged again
        self._judging: bytes | None = None  # the first of them, once its records are in `_to_settle`
        self._to_settle: deque[bytes] = deque()
        self._trim_ms = 0
        self._collect_ms = 0
        self._offset_ms: int | None = None  # clock less run time, when `redate` last looked

    def load(self, store: Store) -> None:
        """Read the set back at start."""
        self.ids = DataIds(store.load_versions())
        self._keeping = Keeping(self.ids, store.next_end())
        unfinished = store.setting(_UNFINISHED) or b""
        self._to_judge = dict.fromkeys(split_ids(unfinished))

    @property
    def held(self) -> int:
        """How many versions wait for a credential."""
        return self._waiting.held

    @property
    def quarantined(self) -> int:
        """How many versions wait for their time."""
        return self._waiting.quarantined

    @property
    def quota(self) -> Quota:
        """The quota of one creator."""
        return quota_in(self._view.properties.quotas)

    def holds(self, header: Header) -> bool:
        """Whether a version is in the set."""
        return self.ids.holds(header.hlc_s, header.id, header.durable)

    # --- what comes in -------------------------------------------------------------------------------------

    def take(self, items: Iterable[RecordItem], now: Moment, store: Store) -> RecordIntake:
        """Judge verified versions and keep what counts."""
        intake = RecordIntake()
        for item in items:
            if self.holds(item.header):
                self._keep_body(item, store, intake)
            elif item.header.id not in self._waiting:
                self._take_one(item, now, store, intake)
        return intake

    def _take_one(self, item: RecordItem, now: Moment, store: Store, intake: RecordIntake) -> None:
        header, verdict = item.header, self._judge(item.header, store)
        if isinstance(verdict, Deferred):
            self._waiting.hold(item, verdict.missing, now)
            intake.wanted += [i for i in verdict.missing if i not in intake.wanted]
        elif isinstance(verdict, Invalid):
            intake.refused = intake.refused or verdict.reason
            intake.refusals += 1
        elif is_ahead(item, self._latest_ms(now)):
            self._waiting.quarantine(item)
        elif too_old(header, self._time.now_s(now)):
            intake.late += 1
        else:
            if isinstance(verdict, Valid):
                time_s = self._time.now_s(now)
                intake.changes += self._keeping.keep(header, self.quota, time_s, now.utc_ms, store)
                intake.fresh += [item] if self.holds(header) else []
            elif store.version(header.id) is None:
                store.put_version(header, State.ASIDE, now.utc_ms)
            self._keep_body(item, store, intake)

    def _judge(self, header: Header, store: Store) -> Verdict:
        """The verdict of the rules; a grant whose versions wait for a manifest is remembered."""
        verdict = judge(header, self._view, lambda wanted: _manifest(wanted, store))
        if isinstance(verdict, Void) and verdict.missing is not None:
            self._awaited.setdefault(verdict.missing, {})[header.cred] = None
        return verdict

    def _latest_ms(self, now: Moment) -> int:
        """The time by which a version is dated ahead: the clock's, or group time if that is later."""
        return max(now.utc_ms, self._time.now_ms(now))

    # --- bodies --------------------------------------------------------------------------------------------

    def _keep_body(self, item: RecordItem, store: Store, intake: RecordIntake) -> None:
        """Keep the body that came with a version that is here, or note that it is lacking."""
        body_hash = item.header.body_hash
        if body_hash is None or store.has_body(body_hash):
            intake.durable.append(item.header.id)
        elif item.body is None:
            if self.holds(item.header):
                intake.bodies.append((body_hash, item.header.size))
        elif store.bytes_of(item.header.creator) + item.header.size <= self.quota.bytes:
            store.put_body(body_hash, item.body)
            self._on_body(body_hash)
            intake.durable.append(item.header.id)

    def take_body(self, body_hash: bytes, body: bytes, store: Store) -> bool:
        """Keep a body that came apart from its header; False when nothing here names it any more."""
        if store.has_body(body_hash) or not store.names_body(body_hash):
            return False
        store.put_body(body_hash, body)
        self._on_body(body_hash)
        return True

    def _on_body(self, body_hash: bytes) -> None:
        """What waited for a manifest is judged again when it has come."""
        self._to_judge.update(self._awaited.pop(body_hash, {}))

    # --- when authority changes ----------------------------------------------------------------------------

    def release(self, act_ids: Iterable[bytes], now: Moment, store: Store) -> RecordIntake:
        """Judge what waited for these acts."""
        return self.take([item for act in act_ids for item in self._waiting.arrived(act)], now, store)

    def judge_again(self, grants: Iterable[bytes]) -> None:
        """The standing of these grants has changed; `work` does what follows from it."""
        self._to_judge.update(dict.fromkeys(grants))

    def work(self, now: Moment, store: Store) -> list[Change]:
        """Settle records whose versions are to be judged again, at most RECORDS_SETTLED_MAX of them, so that
        no revocation holds up the loop. What is left is remembered, and goes on with the next event.
        """
        if not self._to_judge:
            return []
        changes: list[Change] = []
        for _ in range(RECORDS_SETTLED_MAX):
            record_id = self._next_to_settle(store)
            if record_id is None:
                break
            changes += self._settle(record_id, now, store)
        left = b"".join(list(self._to_judge)[:_UNFINISHED_GRANTS_MAX])
        if left != (store.setting(_UNFINISHED) or b""):
            store.set_setting(_UNFINISHED, left or None)
        return changes

    def _next_to_settle(self, store: Store) -> bytes | None:
        while not self._to_settle:
            grant = next(iter(self._to_judge), None)
            if grant is None:
                return None
            if self._judging == grant:
                del self._to_judge[grant]
                self._judging = None
                continue
            self._judging = grant
            self._to_settle.extend(store.records_citing(grant))
        return self._to_settle.popleft()

    def _settle(self, record_id: bytes, now: Moment, store: Store) -> list[Change]:
        time_s, latest_ms = self._time.now_s(now), self._latest_ms(now)

        def stands(header: Header) -> bool:
            if too_old(header, time_s) or is_ahead(RecordItem(header), latest_ms):
                return False
            return isinstance(self._judge(header, store), Valid)

        return self._keeping.settle(record_id, stands, self.quota, time_s, now.utc_ms, store)

    # --- time ----------------------------------------------------------------------------------------------

    def expire(self, now: Moment, store: Store) -> RecordIntake:
        """Take in what need no longer wait, and let go of what is over."""
        due = self._waiting.due(now, self._latest_ms(now))
        intake = self.take(due, now, store)
        time_s = self._time.now_s(now)
        intake.changes += self._keeping.expire(time_s, store)
        if self._time.synced and now.mono_ms >= self._collect_ms:
            more = self._keeping.collect(time_s, store) == RECORDS_EXPIRED_MAX
            self._collect_ms = now.mono_ms + (0 if more else RECORDS_COLLECT_MS)
        if now.mono_ms >= self._trim_ms:
            self._trim_ms = now.mono_ms + ASIDE_TRIM_MS
            self._keeping.trim_aside(now.utc_ms, store)
        return intake

    def misdated(self, now: Moment, store: Store) -> list[Version]:
        """The kept versions that are dated ahead, once the clock has been set back or the node was started
        anew; for `redate` to decide on. At most RECORDS_EXPIRED_MAX.
        """
        offset = now.utc_ms - now.mono_ms
        if self._offset_ms is not None and offset >= self._offset_ms:
            self._offset_ms = offset
            return []
        self._offset_ms = offset
        limit = hlc_at(self._latest_ms(now) + HLC_AHEAD_MS_MAX + 1)
        return store.kept_ahead(limit, RECORDS_EXPIRED_MAX)

    def forget(self, version: Version, now: Moment, store: Store) -> list[Change]:
        """Let a version go as if it had never been here."""
        changes = self._keeping.forget(version, store)
        return changes + self._settle(version.record_id, now, store)

    def next_deadline(self, now: Moment) -> int | None:
        """When `expire` or `work` next has something to do, on the monotonic clock."""
        if self._to_judge:
            return now.mono_ms
        end_s = self._keeping.next_end_s
        dues = (
            self._waiting.next_deadline(now, self._latest_ms(now)),
            None if end_s is None else max(now.mono_ms, self._time.mono_at(end_s * 1000, now)),
            max(now.mono_ms, self._collect_ms) if self._time.synced and self.ids.expiring else None,
        )
        return min((due for due in dues if due is not None), default=None)


def _manifest(wanted: bytes, store: RecordSet) -> frozenset[bytes] | None:
    """The versions that a manifest lists; one that cannot be read lists none."""
    body = store.body(wanted)
    if body is None:
        return None
    try:
        return manifest_ids(body)
    except RemoteProtocolError:
        return frozenset()
