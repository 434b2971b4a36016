"""Delayed acts: those of a key that has signed too much in too short a time (act_rates.py).

Only their ids are kept, with their places in the order; they stand among the ids of AUTH that this node
knows, so neighbors with whom it compares sets do not send them again, and two that delay different ones find
nothing to exchange. When a day has passed they are forgotten, and come again as what is lacking: as many as
have room then are taken in. So is what a restart has forgotten. Whatever names a delayed act by `prev` or
`cred`, and the certificate of a delayed grant, is delayed with it.

An alarm is raised once for each key and day.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from protocol.authority.act_set import ActSet
from protocol.codec import decode_untrusted, encode
from protocol.ids import split_ids
from protocol.limits import ACT_RATES_TOLD_MAX, ACTS_DELAYED_MAX, SETTING_BYTES_MAX

_TOLD = "act_rates_told"


@dataclass(frozen=True, slots=True)
class Delay:
    """Where a delayed element stands in the order, and the key (pid) that has signed too much."""

    second: int
    author: bytes


class DelayedActs:
    """The ids that are delayed on one node."""

    def __init__(self) -> None:
        """None is."""
        self._delays: dict[bytes, Delay] = {}
        self._day = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._delays)

    def __contains__(self, element_id: bytes) -> bool:
        """Whether an element is delayed."""
        return element_id in self._delays

    def get(self, element_id: bytes) -> Delay | None:
        """The delay of an element."""
        return self._delays.get(element_id)

    def add(self, element_id: bytes, delay: Delay, today: int) -> bool:
        """Delay an element; False when there is no room to remember it: then it comes again, and again."""
        if len(self._delays) >= ACTS_DELAYED_MAX:
            return False
        if not self._delays:
            self._day = today
        self._delays[element_id] = delay
        return True

    def pop(self, element_id: bytes) -> Delay | None:
        """Forget one."""
        return self._delays.pop(element_id, None)

    def places(self) -> list[tuple[int, bytes]]:
        """The places of all in the order of ids."""
        return [(delay.second, element_id) for element_id, delay in self._delays.items()]

    def pop_all(self) -> list[tuple[int, bytes]]:
        """Forget all: their places in the order."""
        places = self.places()
        self._delays.clear()
        return places

    def is_over(self, today: int) -> bool:
        """Whether they may be tried again: another day has begun, or the clock was set."""
        return bool(self._delays) and today != self._day

    @property
    def ends_on(self) -> int | None:
        """The day on which they may be tried again."""
        return self._day + 1 if self._delays else None

    def by_author(self) -> Counter[bytes]:
        """How many elements wait for each key that has signed too much."""
        return Counter(delay.author for delay in self._delays.values())


def note_told(author: bytes, today: int, store: ActSet) -> bool:
    """Whether an alarm about a key is due; if so, it is remembered as raised today."""
    raw = store.setting(_TOLD)
    known: dict[bytes, int] = {}
    if raw is not None:
        found = decode_untrusted(raw, bytes_max=SETTING_BYTES_MAX)
        known = dict(zip(split_ids(found["authors"]), found["days"], strict=True))
    if known.pop(author, None) == today:
        return False
    known[author] = today
    last = list(known.items())[-ACT_RATES_TOLD_MAX:]
    told = {"authors": b"".join(pid for pid, _ in last), "days": [day for _, day in last]}
    store.set_setting(_TOLD, encode(told))
    return True
