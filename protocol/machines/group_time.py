"""Group time: what this node believes the time to be, wherever the belief could destroy something.

Expiry and collection take data away, so one start with a wrong clock must not decide them. The clock is
believed only at moments of *agreement*: when a neighbor that has proved its membership tells a time within
five minutes of ours, or when the group has no other member who could. From the last agreement on, run time
is counted, and after a restart from the *floor* that was saved: group time stands still while the node is
off and nobody confirms its clock, and it never goes back. Nothing is collected before the first
synchronisation of a run either.

Signing needs a clock that nobody contradicts: while neighbors tell their time and none agrees, the clock is
`contradicted`.

Source: design section 6, "Time floor"; protocol-study 4.2, "Group time" and the argument above it.
"""

from __future__ import annotations

from protocol.authority.act_set import ActSet
from protocol.limits import CLOCK_DIFFERENCE_MS_MAX, FLOOR_SAVED_MS, HEADER_LIFE_S, HORIZON_STEP_S
from protocol.machines.events import LinkId
from protocol.peer_time import HLC_MAX, Moment, hlc_ms

_SETTING = "time_floor"
_FLOOR_BYTES = 8
_FLOOR_MS_MAX = hlc_ms(HLC_MAX)


class GroupTime:
    """One node's idea of the time in one group."""

    def __init__(self) -> None:
        """Begin at 1970; `load` goes on from where the last run was."""
        self.synced = False  # in this run, our set was once found equal to a neighbor's
        self._anchor_utc_ms = 0
        self._anchor_mono_ms = 0
        self._saved_ms = 0
        self._differences: dict[LinkId, int] = {}

    def load(self, now: Moment, store: ActSet) -> None:
        """Go on from the floor that was saved."""
        raw = store.setting(_SETTING)
        self._saved_ms = self._anchor_utc_ms = 0 if raw is None else int.from_bytes(raw, "big")
        self._anchor_mono_ms = now.mono_ms

    def now_ms(self, now: Moment) -> int:
        """Group time, in milliseconds since 1970 UTC; never goes back."""
        return self._anchor_utc_ms + now.mono_ms - self._anchor_mono_ms

    def now_s(self, now: Moment) -> int:
        """Group time in whole seconds."""
        return self.now_ms(now) // 1000

    def horizon_s(self, now: Moment) -> int:
        """The second before which expiring records are no longer compared with anybody: a whole hour, so that
        nodes whose times differ a little name the same one.
        """
        oldest = max(0, self.now_s(now) - HEADER_LIFE_S)
        return -(-oldest // HORIZON_STEP_S) * HORIZON_STEP_S

    def mono_at(self, group_ms: int, now: Moment) -> int:
        """When, on the monotonic clock, group time will be `group_ms`, as far as is known."""
        return now.mono_ms + group_ms - self.now_ms(now)

    # --- agreement -----------------------------------------------------------------------------------------

    def on_clock(self, link: LinkId, their_utc_ms: int, now: Moment) -> None:
        """A neighbor told its time."""
        self._differences[link] = their_utc_ms - now.utc_ms
        if abs(their_utc_ms - now.utc_ms) <= CLOCK_DIFFERENCE_MS_MAX:
            self._agree(now)

    def on_alone(self, now: Moment) -> None:
        """There is no other member: nobody to disagree with, and nobody to harm."""
        self.synced = True
        self._agree(now)

    def on_down(self, link: LinkId) -> None:
        """A neighbor left; its time no longer speaks against ours."""
        self._differences.pop(link, None)

    def _agree(self, now: Moment) -> None:
        if self.now_ms(now) < now.utc_ms <= _FLOOR_MS_MAX:
            self._anchor_utc_ms, self._anchor_mono_ms = now.utc_ms, now.mono_ms

    @property
    def confirmed(self) -> bool:
        """Whether somebody's clock agrees with ours now."""
        return any(abs(difference) <= CLOCK_DIFFERENCE_MS_MAX for difference in self._differences.values())

    @property
    def contradiction_ms(self) -> int | None:
        """By how much the neighbors' clocks are ahead of ours (the smallest difference), when all that told
        theirs contradict ours; None otherwise.
        """
        differences = self._differences.values()
        nearest = min(differences, key=abs, default=0)
        return nearest if abs(nearest) > CLOCK_DIFFERENCE_MS_MAX else None

    # --- the floor -----------------------------------------------------------------------------------------

    def save(self, now: Moment, store: ActSet) -> None:
        """Write the floor down if it has risen enough; to be called with every event."""
        floor = self.now_ms(now)
        if floor - self._saved_ms >= FLOOR_SAVED_MS:
            self._saved_ms = floor
            store.set_setting(_SETTING, floor.to_bytes(_FLOOR_BYTES, "big"))
