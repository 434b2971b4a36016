"""Data: the records half of a group's machine.

What concerns records alone meets here: group time, the versions that are held, what users write, what is
refreshed. The group's machine brings in what arrives and what AUTH has become, and passes on what comes out
as one `RecordIntake`, whatever it came from: a neighbor, a file, a user, or the time.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from protocol.authority.acts import Act
from protocol.authority.grants import Grant
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.machines.data_ids import DataIds
from protocol.machines.directory import ContactWish
from protocol.machines.events import AddRecord, DeleteRecord, RecordCommand, UpdateRecord, Written
from protocol.machines.group_time import GroupTime
from protocol.machines.record_keeping import header_in
from protocol.machines.records import RecordIntake, Records
from protocol.machines.refresh import Refreshing
from protocol.machines.write import Pen, Writing
from protocol.peer_time import Moment
from protocol.records.record import RecordItem
from protocol.records.record_set import GroupSet, State
from protocol.records.reserved import CONTACT_TYPE, EMPTY_MANIFEST, MANIFEST_IDS_MAX, encode_manifest


class Data:
    """The records of one group, and what this node does with them. `begin` comes first with every event."""

    def __init__(self, own: PrivateKey, view: View, rng: random.Random) -> None:
        """`view` is the machine's; `rng` draws record ids."""
        self.time = GroupTime()
        self.records = Records(view, self.time)
        self.refreshing = Refreshing()
        self._own = own
        self._view = view
        self._writing = Writing(own, rng)

    @property
    def ids(self) -> DataIds:
        """The replicated set."""
        return self.records.ids

    def load(self, now: Moment, store: GroupSet) -> None:
        """Read everything back at start."""
        self.time.load(now, store)
        self.records.load(store)
        self.refreshing.load(store)

    def begin(self, now: Moment) -> None:
        """Let time go on."""
        self.time.begin(now, alone=self._view.is_sole(self._own.public.pid))

    # --- what comes in --------------------------------------------------------------------------------------

    def take(self, items: Sequence[RecordItem], now: Moment, store: GroupSet) -> RecordIntake:
        """Versions from a neighbor or a file, signatures verified."""
        return self.records.take(items, now, store)

    def on_acts(
        self, acts: Iterable[Act], changed: Iterable[bytes], now: Moment, store: GroupSet
    ) -> RecordIntake:
        """AUTH has grown by these acts, and the standing of these grants has changed by them. What cannot be
        judged again at once is left to `on_tick`.
        """
        self.records.judge_again(changed)
        intake = self.records.release((act.id for act in acts), now, store)
        intake.changes += self.records.work(now, store)
        return intake

    def on_body(self, body_hash: bytes, body: bytes, now: Moment, store: GroupSet) -> RecordIntake:
        """A body has come that was fetched apart."""
        intake = RecordIntake()
        if self.records.take_body(body_hash, body, store):
            intake.changes += self.records.work(now, store)
        return intake

    def on_tick(self, grant: Grant | None, now: Moment, store: GroupSet) -> RecordIntake:
        """What time brings: the end of waiting, expiry, refreshing, and work that was left."""
        intake = self.records.expire(now, store)
        intake.changes += self.records.work(now, store)
        pen = self._pen(grant, now, store)
        for item in self.refreshing.due(self._own.public.pid, self._writing, pen):
            self._merge(intake, self.take([item], now, store))
        if self.time.confirmed:
            self._redate(pen, intake)
        return intake

    def _redate(self, pen: Pen, intake: RecordIntake) -> None:
        """Put right what a wrong clock did here: own versions are dated anew, those of others come again."""
        for version in self.records.misdated(pen.now, pen.store):
            item = None
            if version.author == self._own.public.pid:
                try:
                    item = self._writing.redated(header_in(pen.store, version.id), pen)
                except RuleError:
                    continue  # nothing to write under: what was promised stays as it is
            self._merge(intake, self.records.replace(version, item, pen.now, pen.store))
            if item is not None:
                self.refreshing.follow(item.header)

    # --- what users write -----------------------------------------------------------------------------------

    def write(
        self, command: RecordCommand, grant: Grant | None, now: Moment, store: GroupSet
    ) -> tuple[RecordIntake, Written]:
        """Do what a user wants. Raises: RuleError, with nothing changed."""
        pen = self._pen(grant, now, store)
        if not isinstance(command, DeleteRecord) and command.auto_refresh:
            self.refreshing.check_room(getattr(command, "record_id", None))
        match command:
            case AddRecord():
                item = self._writing.add(command, pen)
            case UpdateRecord():
                item = self._writing.update(command, pen)
            case DeleteRecord():
                item = self._writing.delete(command, pen)
        intake = self.take([item], now, store)
        assert intake.fresh == [item], (intake, item.header)
        self._note_refresh(command, item, store)
        return intake, Written(item.header.record_id, item.header.id)

    def write_contact(
        self, wish: ContactWish, grant: Grant | None, now: Moment, store: GroupSet
    ) -> RecordIntake:
        """Write our contact record. Raises: RuleError, with nothing changed."""
        pen = self._pen(grant, now, store)
        item = self._writing.reserved(CONTACT_TYPE, wish.record_id, wish.body, wish.expires, pen)
        return self.take([item], now, store)

    def write_manifest(
        self, pid: bytes, grant: Grant | None, now: Moment, store: GroupSet
    ) -> tuple[RecordIntake, bytes]:
        """List the versions that a key has written, as far as they are kept here; the hash of the list.
        Raises: RuleError, with nothing changed.
        """
        listed = self._written_by(pid, store)
        if not listed:
            return RecordIntake(), EMPTY_MANIFEST
        if len(listed) > MANIFEST_IDS_MAX:
            raise RuleError(
                "quota-exceeded",
                f"the member has {len(listed)} versions of records here, and a list takes {MANIFEST_IDS_MAX}",
                hint="keep what is dated before now: --data time",
            )
        item = self._writing.manifest(encode_manifest(listed), self._pen(grant, now, store))
        assert item.header.body_hash is not None
        return self.take([item], now, store), item.header.body_hash

    def _written_by(self, pid: bytes, store: GroupSet) -> list[bytes]:
        """The kept versions whose author is this key."""
        grants = self._view.grants_ever(pid)
        records = dict.fromkeys(record for grant in grants for record in store.records_citing(grant.act_id))
        return [
            one.id
            for record in records
            for one in store.versions(record)
            if one.author == pid and one.state is State.KEPT
        ]

    def _note_refresh(self, command: RecordCommand, item: RecordItem, store: GroupSet) -> None:
        header = item.header
        refresh = None if isinstance(command, DeleteRecord) else command.auto_refresh
        if header.deleted or refresh is False:
            self.refreshing.stop(header.record_id, store)
        elif refresh or (header.record_id in self.refreshing and _says_when(command)):
            self.refreshing.start(header, store)
        else:
            self.refreshing.follow(header)

    def _pen(self, grant: Grant | None, now: Moment, store: GroupSet) -> Pen:
        return Pen(self._view, grant, self.records.quota, self.time, now, store)

    @staticmethod
    def _merge(intake: RecordIntake, more: RecordIntake) -> None:
        intake.fresh += more.fresh
        intake.changes += more.changes
        intake.bodies += more.bodies

    # --- time -----------------------------------------------------------------------------------------------

    def next_deadline(self, now: Moment) -> int | None:
        """When `on_tick` next has something to do, on the monotonic clock."""
        dues = (
            self.records.next_deadline(now),
            self.records.misdated_due(now) if self.time.confirmed else None,
            self.refreshing.next_deadline(max(now.utc_s, self.time.now_s(now)), now.mono_ms),
        )
        return min((due for due in dues if due is not None), default=None)


def _says_when(command: RecordCommand) -> bool:
    """Whether a user says when the record is to expire."""
    return not isinstance(command, DeleteRecord) and command.expires is not None
