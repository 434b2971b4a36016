"""Group time: what this node believes the time to be, wherever the belief could destroy something.

Expiry and collection take data away, so one start with a wrong clock must not decide them. The clock is
believed only at moments of *agreement*: when a neighbor that has proved its membership tells a time within
five minutes of ours. From the last agreement on, run time is counted, and after a restart from the *floor*
that was saved: group time stands still while the node is off and nobody confirms its clock. It never goes
back; when a clock that was ahead is set right, it stands still until the clock has come as far. Nothing is
collected before the first synchronisation of a run either.

A sole member has nobody to ask. What it sees follows its clock at once, both ways, since that can be taken
back; what destroys waits until the clock has gone on steadily for an hour, and then counts as agreed. So
there are two times, which are the same for everybody else: `now_ms`, by which readers see records expire,
and `certain_ms`, by which anything is forgotten or refused.

Signing needs a clock that nobody contradicts: while neighbors tell their time and none agrees, nothing is
signed by it.

Source: design section 6, "Time floor"; protocol-study 4.2, "Group time" and the argument above it.
"""

from __future__ import annotations

from protocol.authority.act_set import ActSet
from protocol.limits import (
    ALONE_STEADY_MS,
    CLOCK_DIFFERENCE_MS_MAX,
    FLOOR_SAVED_MS,
    HEADER_LIFE_S,
    HORIZON_STEP_S,
)
from protocol.machines.events import LinkId
from protocol.peer_time import HLC_MAX, Moment, hlc_ms

_SETTING = "time_floor"
_FLOOR_BYTES = 8
_FLOOR_MS_MAX = hlc_ms(HLC_MAX)


class GroupTime:
    """One node's idea of the time in one group. `begin` comes first with every event."""

    def __init__(self) -> None:
        """Begin at 1970; `load` goes on from where the last run was."""
        self.synced = False  # in this run, our set was once found equal to a neighbor's
        self._held_ms = 0  # what has been certain stays certain: time stands still until the clock is there
        self._anchor_utc_ms = 0
        self._anchor_mono_ms = 0
        self._saved_ms = 0
        self._alone = False
        self._steady: Moment | None = None  # since when a sole member's clock has not been set
        self._offset_ms = 0  # of our clock before run time
        self._offsets: dict[LinkId, int] = {}  # of the neighbors' clocks before our run time

    def load(self, now: Moment, store: ActSet) -> None:
        """Go on from the floor that was saved."""
        raw = store.setting(_SETTING)
        self._saved_ms = 0 if raw is None else int.from_bytes(raw, "big")
        self._held_ms = self._anchor_utc_ms = self._saved_ms
        self._anchor_mono_ms = now.mono_ms

    def begin(self, now: Moment, alone: bool) -> None:
        """Let time go on. `alone`: the group has no other member."""
        self._offset_ms = now.utc_ms - now.mono_ms
        self._alone = alone
        if alone:
            self._on_alone(now)
        else:
            self._steady = None

    def _on_alone(self, now: Moment) -> None:
        """There is nobody to disagree with."""
        self.synced = True
        steady = self._steady
        if steady is None or abs(_offset(now) - _offset(steady)) > CLOCK_DIFFERENCE_MS_MAX:
            self._steady = steady = now
        if now.mono_ms - steady.mono_ms >= ALONE_STEADY_MS:
            self._agree(now)

    def certain_ms(self, now: Moment) -> int:
        """Group time by which data may be destroyed, in milliseconds since 1970 UTC; never goes back."""
        return max(self._held_ms, self._anchor_utc_ms + now.mono_ms - self._anchor_mono_ms)

    def certain_s(self, now: Moment) -> int:
        """The same in whole seconds."""
        return self.certain_ms(now) // 1000

    def now_ms(self, now: Moment) -> int:
        """Group time as readers see it, in milliseconds since 1970 UTC; not before what is certain."""
        return max(self._held_ms, self._running_ms(now))

    def _running_ms(self, now: Moment) -> int:
        """The time that goes on, though it may be behind what is certain."""
        running = self._anchor_utc_ms + now.mono_ms - self._anchor_mono_ms
        return max(running, min(now.utc_ms, _FLOOR_MS_MAX)) if self._alone else running

    def now_s(self, now: Moment) -> int:
        """The same in whole seconds."""
        return self.now_ms(now) // 1000

    def horizon_s(self, now: Moment) -> int:
        """The second before which expiring records are no longer compared with anybody: a whole hour, so that
        nodes whose times differ a little name the same one.
        """
        oldest = max(0, self.certain_s(now) - HEADER_LIFE_S)
        return -(-oldest // HORIZON_STEP_S) * HORIZON_STEP_S

    def mono_at(self, group_ms: int, now: Moment) -> int:
        """When, on the monotonic clock, `now_ms` will be `group_ms`, as far as is known."""
        if group_ms <= self.now_ms(now):
            return now.mono_ms
        return now.mono_ms + group_ms - self._running_ms(now)

    # --- agreement -----------------------------------------------------------------------------------------

    def on_clock(self, link: LinkId, their_utc_ms: int, now: Moment) -> None:
        """A neighbor told its time."""
        self._offset_ms = _offset(now)
        self._offsets[link] = their_utc_ms - now.mono_ms
        if abs(their_utc_ms - now.utc_ms) <= CLOCK_DIFFERENCE_MS_MAX:
            self._agree(now)

    def on_down(self, link: LinkId) -> None:
        """A neighbor left; its time no longer speaks against ours."""
        self._offsets.pop(link, None)

    def _agree(self, now: Moment) -> None:
        if now.utc_ms <= _FLOOR_MS_MAX:
            self._held_ms = self.certain_ms(now)
            self._anchor_utc_ms, self._anchor_mono_ms = now.utc_ms, now.mono_ms

    def _differences(self) -> list[int]:
        return [theirs - self._offset_ms for theirs in self._offsets.values()]

    @property
    def confirmed(self) -> bool:
        """Whether somebody's clock agrees with ours now."""
        return any(abs(difference) <= CLOCK_DIFFERENCE_MS_MAX for difference in self._differences())

    @property
    def contradiction_ms(self) -> int | None:
        """By how much the neighbors' clocks are ahead of ours (the smallest difference), when all that told
        theirs contradict ours; None otherwise.
        """
        nearest = min(self._differences(), key=abs, default=0)
        return nearest if abs(nearest) > CLOCK_DIFFERENCE_MS_MAX else None

    # --- the floor -----------------------------------------------------------------------------------------

    @property
    def floor_s(self) -> int:
        """The floor in whole seconds: what a restart now would begin from. Only what it has passed may be
        forgotten, or a crash would let come back what it beat.
        """
        return self._saved_ms // 1000

    def save(self, now: Moment, store: ActSet) -> None:
        """Write the floor down if it has risen enough; to be called with every event."""
        floor = self.certain_ms(now)
        if floor - self._saved_ms >= FLOOR_SAVED_MS:
            self._saved_ms = floor
            store.set_setting(_SETTING, floor.to_bytes(_FLOOR_BYTES, "big"))


def _offset(now: Moment) -> int:
    return now.utc_ms - now.mono_ms
