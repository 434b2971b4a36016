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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from protocol.authority.admission import Deferred, Invalid
from protocol.authority.view import View
from protocol.ids import split_ids
from protocol.limits import (
    ASIDE_TRIM_MS,
    CLOCK_SET_BACK_MS,
    MISDATED_MS,
    QUOTA_IDS,
    RECORDS_ASIDE_MAX,
    RECORDS_COLLECT_MS,
    RECORDS_EXPIRED_MAX,
    RECORDS_SETTLED_MAX,
    REFRESH_RETRY_S,
    SETTING_BYTES_MAX,
)
from protocol.machines.data_ids import DataIds
from protocol.machines.group_time import GroupTime
from protocol.machines.quotas import Quota, quota_in
from protocol.machines.record_keeping import Change, Keeping, Stands, Terms, aside_at, has_ended, too_old
from protocol.machines.record_waiting import RecordWaiting, is_ahead
from protocol.peer_time import Moment, hlc_at
from protocol.records.admission import Valid, Verdict, Void, judge
from protocol.records.record import Header, RecordItem
from protocol.records.record_set import GroupSet, RecordSet, State, Version
from protocol.records.reserved import manifest_ids

_TASKS = "record_tasks"
_TASK_BYTES = 32
_TASKS_SAVED_MAX = SETTING_BYTES_MAX // _TASK_BYTES
# Tasks are the ids of grants, and three that no hash will be.
_ALL = b"all grants".ljust(_TASK_BYTES, b"\0")
_QUOTA = b"quota".ljust(_TASK_BYTES, b"\0")
_CLOCK = b"clock".ljust(_TASK_BYTES, b"\0")
_QUOTA_APPLIED = "quota_ids"
_UNSURE_TO = "hidden_to"
_NUMBER_BYTES = 8


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


@dataclass(frozen=True, slots=True)
class _Batch:
    """What decides on the versions of one call, worked out once for all of them."""

    terms: Terms
    latest_ms: int  # beyond this time a version is dated ahead
    stands: Stands
    store: GroupSet
    intake: RecordIntake


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
        self._tasks: dict[bytes, None] = {}  # what is to be settled anew
        self._task: bytes | None = None  # the first of them, once it has been begun
        self._to_settle: Iterator[bytes] = iter(())
        self._saved_tasks = b""
        self._saved_unsure_s = 0
        self._quota_ids = self._saved_quota_ids = QUOTA_IDS  # that is being applied to all that is kept
        self._trim_ms = 0
        self._collect_ms = 0
        self._collected_s = 0  # the time floor by which headers were collected last
        self._offset_ms: int | None = None  # clock less run time, when `misdated` last looked
        self._misdated_ms: int | None = None  # when it looks again, because something was left

    def load(self, store: GroupSet) -> None:
        """Read the set back at start; the view must have been."""
        self.ids = DataIds(store.load_versions())
        self._keeping = Keeping(self.ids, store.next_end())
        self._saved_tasks = store.setting(_TASKS) or b""
        self._tasks = dict.fromkeys(split_ids(self._saved_tasks))
        if _ALL in self._tasks:
            self._tasks = dict.fromkeys((_QUOTA, _CLOCK, *self._view.grant_ids()))
        self._saved_unsure_s = self._keeping.unsure_to_s = _number(store.setting(_UNSURE_TO), 0)
        self._quota_ids = self._saved_quota_ids = _number(store.setting(_QUOTA_APPLIED), QUOTA_IDS)
        self._load_awaited(store)

    def _load_awaited(self, store: GroupSet) -> None:
        """Remember again for which manifests versions wait."""
        aside = (store.version(one) for _, one in store.aside_oldest(RECORDS_ASIDE_MAX))
        for cred in dict.fromkeys(version.cred for version in aside if version is not None):
            for hit in self._view.data_hits(cred) or ():
                if hit.manifest is not None and not store.has_body(hit.manifest):
                    self._awaited.setdefault(hit.manifest, {})[cred] = None

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

    def take(self, items: Sequence[RecordItem], now: Moment, store: GroupSet) -> RecordIntake:
        """Judge verified versions and keep what counts."""
        intake = RecordIntake()
        self._note_clock(now)
        batch = _Batch(self._terms(now), self._latest_ms(now), self._stands_at(now, store), store, intake)
        store.expect([item.header for item in items])
        for item in items:
            if self.holds(item.header):
                self._keep_body(item, batch, known=True)
            elif item.header.id not in self._waiting:
                self._take_one(item, now, batch)
        self._keeping.bound_aside(store)
        self._save(store)
        return intake

    def _take_one(self, item: RecordItem, now: Moment, batch: _Batch) -> None:
        header, verdict, intake = item.header, self._judge(item.header, batch.store), batch.intake
        if isinstance(verdict, Deferred):
            self._waiting.hold(item, verdict.missing, now)
            intake.wanted += [i for i in verdict.missing if i not in intake.wanted]
        elif isinstance(verdict, Invalid):
            intake.refused = intake.refused or verdict.reason
            intake.refusals += 1
        elif is_ahead(header.hlc, batch.latest_ms):
            self._waiting.quarantine(item, batch.latest_ms)
        elif too_old(header, batch.terms.certain_s):
            intake.late += 1
        else:
            known = False
            if isinstance(verdict, Valid):
                kept, changes = self._keeping.keep(header, batch.stands, batch.terms, batch.store)
                intake.changes += changes
                if kept:
                    intake.fresh.append(item)
            elif not (known := batch.store.version(header.id) is not None):
                batch.store.put_version(header, State.ASIDE, aside_at(header.hlc, batch.terms))
            self._keep_body(item, batch, known=known)

    def _judge(self, header: Header, store: GroupSet) -> Verdict:
        """The verdict of the rules; a grant whose versions wait for a manifest is remembered."""
        verdict = judge(header, self._view, lambda wanted: _manifest(wanted, store))
        if isinstance(verdict, Void) and verdict.missing is not None:
            self._awaited.setdefault(verdict.missing, {})[header.cred] = None
        return verdict

    def _stands_at(self, now: Moment, store: GroupSet) -> Stands:
        """Which of a record's versions count. One that is kept though it is dated ahead, after a start with
        a wrong clock, is `replace`'s to judge.
        """
        certain_s, latest_ms = self._time.certain_s(now), self._latest_ms(now)

        def stands(version: Version, header: Header) -> bool:
            if too_old(header, certain_s):
                return False
            if version.state is State.ASIDE and is_ahead(version.hlc, latest_ms):
                return False
            return isinstance(self._judge(header, store), Valid)

        return stands

    def _terms(self, now: Moment) -> Terms:
        time = self._time
        return Terms(self.quota, time.now_s(now), time.certain_s(now), time.certain_ms(now))

    def _latest_ms(self, now: Moment) -> int:
        """The time by which a version is dated ahead: that of a clock which a neighbor confirms; else the
        clock's, or group time if that is later. Group time is ahead of a right clock where two wrong ones
        have confirmed each other.
        """
        return now.utc_ms if self._time.confirmed else max(now.utc_ms, self._time.certain_ms(now))

    # --- bodies --------------------------------------------------------------------------------------------

    def _keep_body(self, item: RecordItem, batch: _Batch, *, known: bool) -> None:
        """Keep the body that came with a version that is here, or note that it is lacking. `known`: the
        version was here before.
        """
        header, store, intake = item.header, batch.store, batch.intake
        if header.body_hash is None or store.has_body(header.body_hash):
            intake.durable.append(header.id)
        elif has_ended(header, batch.terms.certain_s):
            store.release_body(header.id)
            intake.durable.append(header.id)
        elif known and not store.names_body(header.body_hash):
            pass  # let go for its quota, or for its end in the minute before a restart
        elif store.bytes_of(header.creator) + header.size > batch.terms.quota.bytes:
            store.release_body(header.id)  # or it would be fetched again and again
        elif item.body is not None:
            store.put_body(header.body_hash, item.body)
            self._on_body(header.body_hash)
            intake.durable.append(header.id)
        elif self.holds(header):
            intake.bodies.append((header.body_hash, header.size))

    def take_body(self, body_hash: bytes, body: bytes, store: GroupSet) -> bool:
        """Keep a body that came apart from its header; False when nothing here names it any more, or its
        creator's quota is used up.
        """
        naming = [] if store.has_body(body_hash) else store.versions_naming(body_hash, RECORDS_SETTLED_MAX)
        most = self.quota.bytes - len(body)
        if all(store.bytes_of(one.creator) > most for one in naming):
            for one in naming:
                store.release_body(one.id)  # or it would be fetched again and again
            return False
        store.put_body(body_hash, body)
        self._on_body(body_hash)
        self._save(store)
        return True

    def _on_body(self, body_hash: bytes) -> None:
        """What waited for a manifest is judged again when it has come."""
        self.judge_again(self._awaited.pop(body_hash, ()))

    # --- when authority changes ----------------------------------------------------------------------------

    def release(self, act_ids: Iterable[bytes], now: Moment, store: GroupSet) -> RecordIntake:
        """Judge what waited for these acts."""
        return self.take([item for act in act_ids for item in self._waiting.arrived(act)], now, store)

    def judge_again(self, grants: Iterable[bytes]) -> None:
        """The standing of these grants has changed; `work` does what follows from it."""
        for grant in grants:
            self._tasks[grant] = None
            if grant == self._task:
                self._task = None  # what has been settled already is settled once more

    def work(self, now: Moment, store: GroupSet) -> list[Change]:
        """Settle records anew that something has changed for, at most RECORDS_SETTLED_MAX of them, so that no
        revocation holds up the loop. What is left is remembered, and goes on with the next event.
        """
        if self.quota.ids != self._quota_ids:
            self._quota_ids = self.quota.ids
            self.judge_again((_QUOTA,))
        if not self._tasks:
            return []
        changes: list[Change] = []
        stands, terms = self._stands_at(now, store), self._terms(now)
        for _ in range(RECORDS_SETTLED_MAX):
            if self._task is None:
                if not self._tasks:
                    break
                self._task = next(iter(self._tasks))
                self._to_settle = self._concerned(self._task, store)
            record_id = next(self._to_settle, None)
            if record_id is not None:
                changes += self._keeping.settle(record_id, stands, terms, store)
            else:
                del self._tasks[self._task]
                self._task = None
        self._keeping.bound_aside(store)
        self._save(store)
        return changes

    def _concerned(self, task: bytes, store: GroupSet) -> Iterator[bytes]:
        """The ids of the records that a task is about."""
        if task == _QUOTA:
            return self._beyond_quota(store)
        if task == _CLOCK:
            versions = (store.version(version_id) for _, version_id in list(self.ids.expiring))
            return (version.record_id for version in versions if version is not None)
        return iter(store.records_citing(task))

    def _beyond_quota(self, store: GroupSet) -> Iterator[bytes]:
        """What is too much of each member's, and what had been too much and may fit now."""
        view = self._view
        grants = (view.admitted(grant_id) for grant_id in view.grant_ids())
        for pid in dict.fromkeys(
            one.grant.pid for one in grants if one is not None and one.grant is not None
        ):
            while store.ids_of(pid) > self.quota.ids and (largest := store.largest_id(pid)) is not None:
                yield largest
        for _, version_id in store.aside_oldest(RECORDS_ASIDE_MAX):
            version = store.version(version_id)
            if version is not None and version.state is State.ASIDE:
                yield version.record_id

    def _save(self, store: GroupSet) -> None:
        """Write down what a restart must not forget."""
        tasks = b"".join(self._tasks if len(self._tasks) <= _TASKS_SAVED_MAX else (_ALL,))
        if tasks != self._saved_tasks:
            store.set_setting(_TASKS, tasks or None)
            self._saved_tasks = tasks
        if self._quota_ids != self._saved_quota_ids:
            # With the task, so that a restart takes up one or the other.
            store.set_setting(_QUOTA_APPLIED, self._quota_ids.to_bytes(_NUMBER_BYTES, "big"))
            self._saved_quota_ids = self._quota_ids
        unsure_s = self._keeping.unsure_to_s
        if unsure_s != self._saved_unsure_s:
            store.set_setting(_UNSURE_TO, unsure_s.to_bytes(_NUMBER_BYTES, "big"))
            self._saved_unsure_s = unsure_s

    # --- time ----------------------------------------------------------------------------------------------

    def expire(self, now: Moment, store: GroupSet) -> RecordIntake:
        """Take in what need no longer wait, and let go of what is over."""
        intake = self.take(self._waiting.due(now, self._latest_ms(now)), now, store)
        terms = self._terms(now)
        if self._was_unsure(now):
            self._keeping.unsure_to_s = 0
            self.judge_again((_CLOCK,))
        intake.changes += self._keeping.expire(terms, store)
        if self._may_collect(now):
            more = self._keeping.collect(self._time.floor_s, store) == RECORDS_EXPIRED_MAX
            self._collect_ms = now.mono_ms + (0 if more else RECORDS_COLLECT_MS)
            self._collected_s = self._time.floor_s
        if now.mono_ms >= self._trim_ms:
            more = self._keeping.trim_aside(terms.at_ms, store)
            self._trim_ms = now.mono_ms + (0 if more else ASIDE_TRIM_MS)
        self._save(store)
        return intake

    def _was_unsure(self, now: Moment) -> bool:
        """Whether what was hidden by a time that was not certain has become certain, or was wrong."""
        unsure_s = self._keeping.unsure_to_s
        wrong = self._time.now_s(now) < unsure_s - CLOCK_SET_BACK_MS // 1000
        return unsure_s > 0 and (wrong or self._time.certain_s(now) >= unsure_s)

    def _may_collect(self, now: Moment) -> bool:
        """What has ended is taken from view before it is collected."""
        ended = self._keeping.next_end_s is not None and self._keeping.next_end_s <= self._time.now_s(now)
        return self._time.synced and not ended and now.mono_ms >= self._collects_ms(now)

    def _collects_ms(self, now: Moment) -> int:
        """When headers are collected next, on the monotonic clock: at once when group time has gone further
        than run time has, as it does when a clock is confirmed after a while.
        """
        leapt = self._time.floor_s - self._collected_s >= RECORDS_COLLECT_MS // 1000
        return now.mono_ms if leapt else max(now.mono_ms, self._collect_ms)

    # --- wrong clocks --------------------------------------------------------------------------------------

    def misdated(self, now: Moment, store: GroupSet) -> list[Version]:
        """The kept versions that are dated far ahead, largest first, at most RECORDS_SETTLED_MAX; for the
        caller to `replace`. Those that it leaves are told again after a while. What is ahead by less than
        MISDATED_MS stays: its time comes soon on all nodes, and what was written before it may be waiting
        elsewhere, dated later than now.
        """
        if not self._looks_for_misdated(now):
            return []
        self._offset_ms = now.utc_ms - now.mono_ms
        last = hlc_at(self._latest_ms(now) + MISDATED_MS + 1) - 1  # that is not far ahead
        found = store.kept_ahead(last, RECORDS_SETTLED_MAX)
        self._misdated_ms = now.mono_ms + REFRESH_RETRY_S * 1000 if found else None
        return found

    def _looks_for_misdated(self, now: Moment) -> bool:
        """Whether this is the first look, the clock was set back, or something had been left."""
        if not len(self.ids):
            return False
        self._note_clock(now)
        if self._offset_ms is None or now.utc_ms - now.mono_ms <= self._offset_ms - CLOCK_SET_BACK_MS:
            return True
        return self._misdated_ms is not None and self._misdated_ms <= now.mono_ms

    def _note_clock(self, now: Moment) -> None:
        """Remember the latest clock by which anything was taken in, confirmed by a neighbor or not."""
        if self._offset_ms is not None:
            self._offset_ms = max(self._offset_ms, now.utc_ms - now.mono_ms)

    def misdated_due(self, now: Moment) -> int | None:
        """When `misdated` next has something to do, on the monotonic clock, if the clock is confirmed."""
        return now.mono_ms if self._looks_for_misdated(now) else self._misdated_ms if len(self.ids) else None

    def replace(
        self, version: Version, item: RecordItem | None, now: Moment, store: GroupSet
    ) -> RecordIntake:
        """Forget a version that is dated ahead, and what else of its record is aside and ahead; `item` is the
        same content under another date, if it was ours.
        """
        intake, terms, stands = RecordIntake(), self._terms(now), self._stands_at(now, store)
        self._misdated_ms = now.mono_ms  # there may be more
        gone = [
            one.id
            for one in store.versions(version.record_id)
            if one.id == version.id or (one.state is State.ASIDE and is_ahead(one.hlc, self._latest_ms(now)))
        ]
        if item is not None and store.version(item.header.id) is None:
            store.put_version(item.header, State.ASIDE, aside_at(item.header.hlc, terms))
        intake.changes += self._keeping.settle(
            version.record_id, lambda one, header: one.id not in gone and stands(one, header), terms, store
        )
        for version_id in gone:
            if (one := store.version(version_id)) is not None and one.state is State.ASIDE:
                store.discard_version(version_id)
        if item is not None and self.holds(item.header):
            intake.fresh.append(item)
        return intake

    # --- deadlines -----------------------------------------------------------------------------------------

    def next_deadline(self, now: Moment) -> int | None:
        """When `expire` or `work` next has something to do, on the monotonic clock."""
        if self._tasks or self._was_unsure(now) or self.quota.ids != self._quota_ids:
            return now.mono_ms
        end_s = self._keeping.next_end_s
        dues = (
            self._waiting.next_deadline(now, self._latest_ms(now)),
            None if end_s is None else max(now.mono_ms, self._time.mono_at(end_s * 1000, now)),
            self._collects_ms(now) if self._time.synced and self.ids.expiring else None,
        )
        return min((due for due in dues if due is not None), default=None)


def _manifest(wanted: bytes, store: RecordSet) -> frozenset[bytes] | None:
    """The versions that a manifest lists; one that cannot be read lists none."""
    body = store.body(wanted)
    return None if body is None else manifest_ids(body) or frozenset()


def _number(raw: bytes | None, default: int) -> int:
    return default if raw is None else int.from_bytes(raw, "big")
