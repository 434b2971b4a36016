"""Void acts: what is admitted and counts for nothing.

A node keeps, digests and passes on the protected set (protected.py of authority): effective acts, and what
they need. What else was admitted, above all what a revoked key goes on signing, stands outside: kept on the
disk and in the view for a while, told to nobody. When a later act makes it count, it is fresh, as if it had
just come.

Guards: a revoked key that floods acts. They are bounded; what is dropped for want of room, or after thirty
days, is nobody's loss, since the view without it is the same (authority-rules.md 9).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from protocol.authority.acts import Act
from protocol.authority.bodies import Kind
from protocol.authority.view import View
from protocol.limits import LEVEL_ROOT, VOID_ACTS_MAX, VOID_ACTS_S_MAX
from protocol.peer_time import hlc_s


class VoidActs:
    """The admitted acts of one group that are outside of the protected set."""

    def __init__(self, view: View) -> None:
        """`view` is the machine's; nothing is outside yet."""
        self._view = view
        self._outside: dict[bytes, None] = {}
        self._forgotten: dict[bytes | None, None] = {}  # that the view still knows
        self._generation = view.generation

    def __len__(self) -> int:
        """How many there are."""
        return len(self._outside)

    def __contains__(self, act_id: bytes) -> bool:
        """Whether an admitted act is outside."""
        return act_id in self._outside

    def __iter__(self) -> Iterator[bytes]:
        """The ids of all."""
        return iter(self._outside)

    def has_room_for(self, act: Act, *, named: bool = False) -> bool:
        """Whether an act may come in here, though it may turn out to be void. Those that a removal has
        `named`, or that it stands on, have room of their own. Not if it stands on one that was forgotten: the
        view still knows that one, the store could not be read back.
        """
        if act.place.prev in self._forgotten or act.place.cred in self._forgotten:
            return False
        room = VOID_ACTS_MAX * (2 if named else 1)
        return len(self._outside) < room or self.may_count(act)

    def may_count(self, act: Act) -> bool:
        """Whether an act is signed by somebody who may still sign what counts, so that it is none of those
        that a removed key can make without end.

        Guards: the thief of a root key that was replaced. What is signed under an earlier version of the root
        counts no more than what a removed key signs.
        """
        cred, root = act.place.cred, self._view.root
        if cred is None or act.kind == Kind.ROTATE_ROOT:
            return True
        if act.place.level == LEVEL_ROOT:
            return root is not None and root.rotation == cred
        return self._view.is_live(cred)

    def sort_out(self, arrived: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Decide anew who is outside: these acts have arrived, and the view may have changed. The acts that
        have come in, in no particular order, those of `arrived` among them, and those that have gone out.
        """
        self._outside.update(dict.fromkeys(arrived))
        protected = self._view.protected()
        gone: list[bytes] = []
        if self._generation != self._view.generation:
            self._generation = self._view.generation
            acts = self._view.act_ids()
            known = self._outside.keys() | self._forgotten.keys()
            gone = [act for act in acts if act not in protected and act not in known]
        come = [act for act in self._outside if act in protected]
        for act in come:
            del self._outside[act]
        self._outside.update(dict.fromkeys(gone))
        return come, gone

    def overdue(self, now_s: int, proofs: Container[bytes] = ()) -> list[bytes]:
        """Those that need no longer be kept: old, and no younger one descends from them, nor one of
        `proofs`, which are kept for ever.
        """
        since_s = now_s - VOID_ACTS_S_MAX
        old = {act: None for act in self._outside if self._second(act) < since_s and act not in proofs}
        if not old:
            return []
        needed = [act for act in self._outside if act not in old]
        while needed:
            admitted = self._view.admitted(needed.pop())
            assert admitted is not None
            for above in (admitted.place.prev, admitted.place.cred):
                if above is not None and above in old:
                    del old[above]
                    needed.append(above)
        return list(old)

    def _second(self, act_id: bytes) -> int:
        admitted = self._view.admitted(act_id)
        assert admitted is not None
        return hlc_s(admitted.place.hlc)

    def forget(self, act_id: bytes) -> None:
        """It is no longer kept; the view forgets it with the next start."""
        del self._outside[act_id]
        self._forgotten[act_id] = None
