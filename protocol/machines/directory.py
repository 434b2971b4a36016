"""Directory: where the nodes of a group can be reached, as they say in contact records.

Every member's node keeps one contact record: under an id that follows from its identity and node id, of the
expiring class, so that what nobody renews is forgotten. It says where the node listens, if it does, and for
which key an administrator can be sealed something; that it is there says that its writer has been seen. It is
written again every day, and when what it says changes. Every node learns addresses from the records of the
others, and where it knows more of them than it can remember it draws some at random: a partner drawn from
all members is what heals a group that has fallen apart, and what keeps its links from being captured.

Source: design sections 6 and 8; protocol-study 1.6, "Why directory-backed".
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocol.authority.grants import Grant
from protocol.credentials.keys import PrivateKey
from protocol.credentials.roles import ADMIN
from protocol.credentials.sealing import public_sealing_key
from protocol.errors import RemoteProtocolError
from protocol.limits import (
    CONTACT_ADDRESSES_MAX,
    CONTACT_LIFE_S,
    CONTACT_RENEWAL_S,
    CONTACT_RETRY_MS,
    DIRECTORY_DRAWN_MAX,
)
from protocol.machines.record_keeping import Change, header_in
from protocol.peer_time import Moment
from protocol.records.record import RECORD_ID_BYTES, Header, new_record_id
from protocol.records.record_set import RecordSet
from protocol.records.reserved import CONTACT_TYPE, Contact, decode_untrusted_contact, encode_contact

_PAGE = 256


@dataclass(frozen=True, slots=True)
class ContactWish:
    """A contact record that is to be written; `expires` in seconds UTC."""

    record_id: bytes
    body: bytes
    expires: int


class Directory:
    """The contact records of one group, our own among them."""

    def __init__(self, gid: bytes, own: PrivateKey, node_id: bytes, rng: random.Random) -> None:
        """`rng` draws members."""
        self.record_id = new_record_id(gid, own.public.pid, False, node_id[:8])
        self._node_id = node_id
        self._rng = rng
        self._sealing = public_sealing_key(own)
        self._said: bytes | None = None  # the body of our record
        self._renew_s = 0  # by the clock
        self._ends_s = 0  # when our record expires
        self._retry_ms = 0
        self.sightings = 0  # how often a contact record has come
        self._seen_s: dict[bytes, int] = {}  # by pid, in seconds UTC

    def load(self, store: RecordSet) -> None:
        """Read back at start what our own record says, and who has been seen."""
        for record_id in self._contacts(store):
            shown = store.shown(record_id)
            assert shown is not None
            self._note_seen(header_in(store, shown))
        shown = store.shown(self.record_id)
        if shown is None:
            return
        header = header_in(store, shown)
        self._renew_s = header.hlc_s + CONTACT_RENEWAL_S
        self._ends_s = header.expires or 0
        self._said = None if header.body_hash is None else store.body(header.body_hash)

    # --- our own record -------------------------------------------------------------------------------------

    def wish(self, listens: Sequence[str], grant: Grant | None, now: Moment) -> ContactWish | None:
        """The record that is to be written now, if one is."""
        body = self._contact(listens, grant)
        if body is None or grant is None or now.mono_ms < self._retry_ms:
            return None
        if body == self._said and self._rests_s(grant, now) > 0:
            return None
        return ContactWish(self.record_id, body, now.utc_s + CONTACT_LIFE_S)

    def _contact(self, listens: Sequence[str], grant: Grant | None) -> bytes | None:
        """What our record has to say; None without a credential to write it under."""
        if grant is None:
            return None
        addresses, admin = tuple(listens)[:CONTACT_ADDRESSES_MAX], ADMIN in grant.roles
        if admin:
            return encode_contact(Contact(addresses, self._node_id, self._sealing))
        return encode_contact(Contact(addresses, self._node_id))

    def on_written(self, header: Header, wish: ContactWish) -> None:
        """Our record has been written."""
        self._said = wish.body
        self._renew_s = wish.expires - CONTACT_LIFE_S + CONTACT_RENEWAL_S
        self._ends_s = header.expires or 0

    def on_refused(self, now: Moment) -> None:
        """It could not be written; try again later."""
        self._retry_ms = now.mono_ms + CONTACT_RETRY_MS

    def next_deadline(self, listens: Sequence[str], grant: Grant | None, now: Moment) -> int | None:
        """When there may be something to write, on the monotonic clock."""
        body = self._contact(listens, grant)
        if body is None or grant is None:
            return None
        wait_ms = self._rests_s(grant, now) * 1000 if body == self._said else 0
        return max(now.mono_ms + wait_ms, self._retry_ms)

    def _rests_s(self, grant: Grant, now: Moment) -> int:
        """For how long what we said need not be said again: not at all if the clock that said when was set
        back since, or if a newer credential lets it live longer.
        """
        rest_s = self._renew_s - now.utc_s
        ends_early = self._ends_s < min(now.utc_s + CONTACT_RENEWAL_S, grant.window.end)
        return rest_s if 0 < rest_s <= CONTACT_RENEWAL_S and not ends_early else 0

    # --- those of others ------------------------------------------------------------------------------------

    def seen_s(self, pid: bytes) -> int | None:
        """When a member last said that it was there, in seconds UTC."""
        return self._seen_s.get(pid)

    def _note_seen(self, header: Header) -> None:
        self.sightings += 1
        self._seen_s[header.creator] = max(header.hlc_s, self._seen_s.get(header.creator, 0))

    def _contacts(self, store: RecordSet) -> Iterator[bytes]:
        """The ids of all contact records that are shown."""
        after = b""
        while page := store.shown_of_type(CONTACT_TYPE, after, _PAGE):
            yield from page
            after = page[-1]

    def learn(self, changes: Iterable[Change], store: RecordSet) -> list[str]:
        """The addresses in contact records that have come, or changed."""
        headers = [
            change.header
            for change in changes
            if change.header.type == CONTACT_TYPE and change.kind in ("record-added", "record-changed")
        ]
        for header in headers:
            self._note_seen(header)
        bodies = [store.body(header.body_hash) for header in headers if header.body_hash is not None]
        return [address for body in bodies for address in self._addresses(body)]

    def draw(self, store: RecordSet) -> list[str]:
        """The addresses of some members, drawn at random from all."""
        place = self._rng.getrandbits(8 * RECORD_ID_BYTES - 1)  # the first bit tells the class
        after = place.to_bytes(RECORD_ID_BYTES, "big")
        drawn = store.shown_of_type(CONTACT_TYPE, after, DIRECTORY_DRAWN_MAX)
        if len(drawn) < DIRECTORY_DRAWN_MAX:
            drawn += store.shown_of_type(CONTACT_TYPE, b"", DIRECTORY_DRAWN_MAX - len(drawn))
        addresses = []
        for record_id in dict.fromkeys(drawn):
            shown = store.shown(record_id)
            assert shown is not None
            body_hash = header_in(store, shown).body_hash
            if body_hash is not None:
                addresses += self._addresses(store.body(body_hash))
        return addresses

    def _addresses(self, body: bytes | None) -> list[str]:
        """Where a contact says its node listens; of our own, nothing."""
        if body is None:
            return []
        try:
            contact = decode_untrusted_contact(body)
        except RemoteProtocolError:
            return []  # its writer harms nobody but itself
        return [] if contact.node_id == self._node_id else list(contact.addresses)
