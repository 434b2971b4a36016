"""Records for tests: valid versions by members of a group, any field of which can be made to lie, and
records as hypothesis draws them.

    group = circle()                                       # alice and bob are admins, dave and erin members
    dave = Writer.of(group, "dave")
    note = dave.add("note", body=b"hello")                 # durable, unless life_s is given
    again = dave.update(note, body=b"hello again")         # dated a second later than whatever was signed
    theirs = Writer.of(group, "alice").delete(again)
    bad = dave.add("note", hlc=0)                          # any field of the content: a lie that decodes
    raw = seal_header(content_of(note.header) | {"size": 7}, named("dave"))   # and one that need not
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from protocol.codec import decode_untrusted, encode
from protocol.credentials.keys import PrivateKey
from protocol.ids import framed
from protocol.limits import ATTRIBUTES_BYTES_MAX, HEADER_BYTES_MAX
from protocol.peer_time import hlc_at, hlc_s
from protocol.records.attributes import (
    DATE,
    INT,
    INT_MAX,
    INT_MIN,
    RESERVED_NAMES,
    STRING,
    Attribute,
    attribute_lists,
    canonical_attributes,
    encode_attributes,
)
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN
from protocol.records.record import (
    VERSION_MAX,
    Header,
    RecordItem,
    body_hash_of,
    decode_untrusted_header,
    new_record_id,
)
from tests.support.builders import DAY, NOW, Group
from tests.support.keys import named

PEOPLE = ("alice", "bob", "carol", "dave", "erin")
CIRCLE = (
    "grc -> alice:admin -> bob:admin -> carol:inviting",
    "alice -> dave:member",
    "alice -> erin:member",
)


def new_circle(classifier: str = "family") -> Group:
    """A group that may be changed: alice (level 1) and bob are administrators, carol invites, dave and erin
    are members.
    """
    group = Group(classifier)
    for text in CIRCLE:
        group.grant(text)
    return group


@cache
def circle() -> Group:
    """The same group each time; not to be changed."""
    return new_circle()


def random8(text: str) -> bytes:
    """What stands for 8 random bytes."""
    return hashlib.sha256(text.encode()).digest()[:8]


def seal_header(content: dict[str, Any], key: PrivateKey) -> bytes:
    """The bytes of a header of any content whatever, signed by `key`; what is None is left out."""
    packed = encode({name: value for name, value in content.items() if value is not None})
    return encode([packed, key.public.raw, key.sign(framed("peerd/record/1", packed))])


def content_of(header: Header) -> dict[str, Any]:
    """The map that a header signs."""
    value = decode_untrusted(header.content, bytes_max=HEADER_BYTES_MAX)
    assert isinstance(value, dict)
    return value


class Writer:
    """Somebody with a key and a grant who signs versions, each dated a second after the one before.

    Writers of one moment date alike: what one writes after seeing another's version is dated after it.
    `changed` are fields of the content (`record`, `type`, `hlc`, `expires`, `ext`, …) over all others.
    """

    def __init__(self, key: PrivateKey, cred: bytes, gid: bytes, hlc: int = hlc_at(NOW.utc_ms)) -> None:
        self.key = key
        self.cred = cred
        self.gid = gid
        self.hlc = hlc
        self._made = 0

    @classmethod
    def of(cls, group: Group, name: str) -> Writer:
        """The writer of a name in a group, under its last grant there."""
        pid = named(name).public.pid
        mine = [one for one in group.granted.values() if one.grant.pid == pid]
        return cls(named(name), mine[-1].act.id, group.gid)

    @property
    def pid(self) -> bytes:
        return self.key.public.pid

    def tick(self, after: int = 0) -> int:
        """The next hlc: a second later than the last, and than `after`."""
        self.hlc = max(self.hlc, after) + (1000 << 16)
        return self.hlc

    def record_id(self, durable: bool = True) -> bytes:
        """A new record id of this writer's."""
        self._made += 1
        return new_record_id(self.gid, self.pid, durable, random8(f"{self.pid.hex()}/{self._made}"))

    def add(
        self,
        record_type: str = "note",
        attributes: tuple[Attribute, ...] = (),
        body: bytes = b"",
        *,
        life_s: int | None = None,
        **changed: Any,
    ) -> RecordItem:
        """The first version of a new record; with `life_s` it is of the expiring class."""
        hlc = self.tick()
        content = {
            "v": 1,
            "gid": self.gid,
            "record": self.record_id(life_s is None),
            "type": record_type,
            "creator": self.pid,
            "created": hlc,
            "version": 1,
            "expires": None if life_s is None else hlc_s(hlc) + life_s,
            "attributes": attribute_lists(canonical_attributes(attributes)) or None,
        }
        return self._sign(content, hlc, body, changed)

    def update(
        self,
        item: RecordItem,
        *,
        attributes: tuple[Attribute, ...] | None = None,
        body: bytes | None = None,
        life_s: int | None = None,
        **changed: Any,
    ) -> RecordItem:
        """The version after `item`, by this writer; what is None stays as it is."""
        before = item.header
        hlc = self.tick(before.hlc)
        content = content_of(before) | {
            "version": min(before.version + 1, VERSION_MAX),
            "deleted": None,
            "ext": None,
        }
        if attributes is not None:
            content["attributes"] = attribute_lists(canonical_attributes(attributes)) or None
        if life_s is not None:
            content["expires"] = hlc_s(hlc) + life_s
        if body is None and item.body is None:
            return self._sign(content, hlc, None, changed)
        return self._sign(content, hlc, item.body if body is None else body, changed)

    def delete(self, item: RecordItem, **changed: Any) -> RecordItem:
        """The version that deletes a record after `item`, by this writer; with the same end, if that is not
        over.
        """
        before = item.header
        hlc = self.tick(before.hlc)
        content = content_of(before) | {
            "version": min(before.version + 1, VERSION_MAX),
            "expires": None if before.expires is None else max(before.expires, hlc_s(hlc) + 1),
            "deleted": True,
            "attributes": None,
            "ext": None,
        }
        return self._sign(content, hlc, b"", changed)

    def _sign(
        self, content: dict[str, Any], hlc: int, body: bytes | None, changed: dict[str, Any]
    ) -> RecordItem:
        """Sign `content`; a body of None leaves its body fields as they are."""
        fields = content | {"author": self.pid, "cred": self.cred, "hlc": hlc}
        if body is not None:
            fields |= {"body": body_hash_of(body) if body else None, "size": len(body) or None}
        header = decode_untrusted_header(seal_header(fields | changed, self.key))
        return RecordItem(header, body or None)


# --- as hypothesis draws them -----------------------------------------------------------------------------

_NAME_CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TYPE_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"

# Everything that XML 1.0 can hold, which is what strings of attributes hold.
TEXT: st.SearchStrategy[str] = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffe\uffff", exclude_categories=("Cs", "Cc"))
    | st.sampled_from("\t\n\r\x7f\x85<>&\"'*?\\ "),
    max_size=20,
)


def attribute_names() -> st.SearchStrategy[str]:
    """Names that are allowed; a few come often, so that they repeat."""
    free = st.text(_NAME_CHARACTERS, min_size=1, max_size=40)
    return st.one_of(st.sampled_from(("priority", "title", "due", "tag")), free).filter(
        lambda name: name.lower() not in RESERVED_NAMES
    )


def attributes(max_size: int = 6) -> st.SearchStrategy[tuple[Attribute, ...]]:
    """Canonical tuples of attributes."""
    one = st.one_of(
        st.builds(
            Attribute,
            attribute_names(),
            st.just(INT),
            st.one_of(st.integers(-3, 9), st.integers(INT_MIN, INT_MAX)),
        ),
        st.builds(Attribute, attribute_names(), st.just(STRING), TEXT),
        st.builds(Attribute, attribute_names(), st.just(DATE), st.integers(DATE_MS_MIN, DATE_MS_MAX)),
    )
    return (
        st.lists(one, max_size=max_size, unique=True)
        .filter(lambda told: len(encode_attributes(told)) <= ATTRIBUTES_BYTES_MAX)
        .map(canonical_attributes)
    )


def record_types() -> st.SearchStrategy[str]:
    """Types under which users may write."""
    free = st.text(_TYPE_CHARACTERS, min_size=1, max_size=64)
    return st.one_of(st.sampled_from(("note", "task", "chat.message")), free).filter(
        lambda text: not text.startswith("peerd.")
    )


def bodies(max_size: int = 300) -> st.SearchStrategy[bytes]:
    """Bodies, some empty, some larger than what is flooded."""
    return st.one_of(st.just(b""), st.binary(min_size=1, max_size=max_size))


@st.composite
def items(draw: st.DrawFn, author: str = "dave") -> RecordItem:
    """First versions of `author` in `circle()`: either class, any attributes, with and without a body."""
    writer = Writer.of(circle(), author)
    writer.hlc += draw(st.integers(0, 10**9)) << 16
    return writer.add(
        draw(record_types()),
        draw(attributes()),
        draw(bodies()),
        life_s=draw(st.none() | st.integers(1, 60 * DAY)),
    )


def headers(author: str = "dave") -> st.SearchStrategy[Header]:
    """The headers of such items."""
    return items(author).map(lambda item: item.header)


@dataclass(frozen=True)
class Write:
    """One step of a history: `author` adds a record, or writes to one that is there (by number)."""

    author: str
    verb: str
    record: int = 0
    body: bytes = b""
    life_s: int | None = None


def writes(max_size: int = 12) -> st.SearchStrategy[list[Write]]:
    """What the people of `circle()` may do, in any order; those who may not are left out by `history`."""
    step = st.builds(
        Write,
        author=st.sampled_from(PEOPLE),
        verb=st.sampled_from(("add", "update", "update", "delete")),
        record=st.integers(0, 3),
        body=st.binary(max_size=8),
        life_s=st.none() | st.integers(1, 20 * DAY),
    )
    return st.lists(step, min_size=1, max_size=max_size)


def history(told: list[Write], group: Group | None = None) -> list[RecordItem]:
    """The versions that some writes come to, oldest first, all of them valid in the group.

    Each author writes after the last version of the record, whoever's it is; who is neither its creator nor
    an administrator does not write.
    """
    group = group or circle()
    writers = {name: Writer.of(group, name) for name in PEOPLE}
    records: list[list[RecordItem]] = []
    made: list[RecordItem] = []
    for step in told:
        writer = writers[step.author]
        if step.verb == "add" or not records:
            item = writer.add(body=step.body, life_s=step.life_s)
            records.append([item])
        else:
            versions = records[step.record % len(records)]
            last = versions[-1]
            if step.author not in ("alice", "bob") and last.header.creator != writer.pid:
                continue
            life = None if last.header.durable else step.life_s or DAY
            item = (
                writer.delete(last)
                if step.verb == "delete"
                else writer.update(last, body=step.body, life_s=life)
            )
            versions.append(item)
        made.append(item)
    return made


def histories(max_size: int = 12) -> st.SearchStrategy[list[RecordItem]]:
    """Valid versions of several records by several people, oldest first."""
    return writes(max_size).map(history)
