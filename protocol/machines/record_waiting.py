"""Versions that wait before they can be judged or kept: for their author's credential, or for their time.

*Held*: the grant under which a version was written has not arrived. It waits a minute, within bounds, and the
link that brought it is asked for the grant. *Quarantined*: a version dated more than five minutes ahead waits
until its time comes. One that is nearly an hour ahead or more does not wait here: its author dates it anew
when its clock has been put right, and what it wrote since must not be beaten by what was kept elsewhere.
Both are delays, never verdicts: what is dropped here for want of room comes again, as
the digests differ until it has been kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.limits import (
    CLOCK_DIFFERENCE_MS_MAX,
    HLC_AHEAD_MS_MAX,
    MISDATED_MS,
    RECORDS_HELD_BYTES_MAX,
    RECORDS_HELD_MAX,
    RECORDS_HELD_S_MAX,
    RECORDS_QUARANTINED_BYTES_MAX,
    RECORDS_QUARANTINED_MAX,
)
from protocol.peer_time import Moment, hlc_ms
from protocol.records.record import RecordItem


@dataclass(slots=True)
class _Held:
    item: RecordItem
    missing: dict[bytes, None]
    deadline_ms: int


class RecordWaiting:
    """The versions of one group that wait, by version id."""

    def __init__(self) -> None:
        """Begin with none: what waits does not survive a restart."""
        self._held: dict[bytes, _Held] = {}
        self._held_bytes = 0
        self._by_act: dict[bytes, dict[bytes, None]] = {}
        self._quarantined: dict[bytes, RecordItem] = {}
        self._quarantined_bytes = 0
        self._far_ahead: dict[bytes, int] = {}  # their hlc, by version id

    def __contains__(self, version_id: bytes) -> bool:
        """Whether a version waits."""
        return version_id in self._held or version_id in self._quarantined

    @property
    def held(self) -> int:
        """How many wait for a credential."""
        return len(self._held)

    @property
    def quarantined(self) -> int:
        """How many wait for their time, or were left out because it is far off."""
        return len(self._quarantined) + len(self._far_ahead)

    # --- for a credential ----------------------------------------------------------------------------------

    def hold(self, item: RecordItem, missing: tuple[bytes, ...], now: Moment) -> None:
        """Keep a version until these acts have arrived, if there is room."""
        full = len(self._held) >= RECORDS_HELD_MAX
        if full or self._held_bytes + _size(item) > RECORDS_HELD_BYTES_MAX:
            return
        deadline_ms = now.mono_ms + RECORDS_HELD_S_MAX * 1000
        self._held[item.header.id] = _Held(item, dict.fromkeys(missing), deadline_ms)
        self._held_bytes += _size(item)
        for act_id in missing:
            self._by_act.setdefault(act_id, {})[item.header.id] = None

    def arrived(self, act_id: bytes) -> list[RecordItem]:
        """The versions that waited for this act alone, by now."""
        ready = []
        for version_id in self._by_act.pop(act_id, {}):
            held = self._held[version_id]
            del held.missing[act_id]
            if not held.missing:
                ready.append(self._drop(version_id))
        return ready

    def _drop(self, version_id: bytes) -> RecordItem:
        held = self._held.pop(version_id)
        self._held_bytes -= _size(held.item)
        for act_id in held.missing:
            waiting = self._by_act[act_id]
            del waiting[version_id]
            if not waiting:
                del self._by_act[act_id]
        return held.item

    # --- for their time ------------------------------------------------------------------------------------

    def quarantine(self, item: RecordItem, time_ms: int) -> None:
        """Keep a version until its time comes, if there is room; one that is far ahead is only counted."""
        if _is_far_ahead(item.header.hlc, time_ms):
            if len(self._far_ahead) < RECORDS_QUARANTINED_MAX:
                self._far_ahead[item.header.id] = item.header.hlc
            return
        full = len(self._quarantined) >= RECORDS_QUARANTINED_MAX
        if full or self._quarantined_bytes + _size(item) > RECORDS_QUARANTINED_BYTES_MAX:
            return
        self._quarantined[item.header.id] = item
        self._quarantined_bytes += _size(item)

    def due(self, now: Moment, time_ms: int) -> list[RecordItem]:
        """Forget what was held too long, and give out what is no longer ahead of `time_ms` (UTC)."""
        for version_id in [i for i, held in self._held.items() if held.deadline_ms <= now.mono_ms]:
            self._drop(version_id)
        self._far_ahead = {one: hlc for one, hlc in self._far_ahead.items() if _is_far_ahead(hlc, time_ms)}
        due = [item for item in self._quarantined.values() if not is_ahead(item.header.hlc, time_ms)]
        for item in due:
            del self._quarantined[item.header.id]
            self._quarantined_bytes -= _size(item)
        return due

    def next_deadline(self, now: Moment, time_ms: int) -> int | None:
        """When `due` next has something to do, in milliseconds of the monotonic clock."""
        held = min((one.deadline_ms for one in self._held.values()), default=None)
        ahead = min((item.header.hlc_ms for item in self._quarantined.values()), default=None)
        due = None if ahead is None else now.mono_ms + max(0, ahead - HLC_AHEAD_MS_MAX - time_ms)
        return min((one for one in (held, due) if one is not None), default=None)


def is_ahead(hlc: int, time_ms: int) -> bool:
    """Whether a version's hlc is too far ahead of a time (UTC) for it to count already."""
    return hlc_ms(hlc) > time_ms + HLC_AHEAD_MS_MAX


def _is_far_ahead(hlc: int, time_ms: int) -> bool:
    """Whether a version is dated so far ahead that its author, once its clock is right, dates it anew."""
    return hlc_ms(hlc) > time_ms + MISDATED_MS - CLOCK_DIFFERENCE_MS_MAX


def _size(item: RecordItem) -> int:
    return len(item.header.raw) + len(item.body or b"")
