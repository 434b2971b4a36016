"""A record set as a model: versions for tests, a set that keeps lists, and all that can be asked of one.

The model answers every question by looking through all that there is, so that nothing in it can come apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any

from protocol.peer_time import hlc_at
from protocol.records.attributes import Attribute
from protocol.records.record import Header, body_hash_of, new_record_id, sign_header
from protocol.records.record_set import State, Version, WantedBody
from tests.support.keys import named

GID = b"g" * 32
START_S = 1_790_000_000
KEPT, ASIDE = State.KEPT, State.ASIDE
ALL = 1_000_000
BODIES = (b"a body", b"another body", b"a third")
TYPES = ("note", "peerd.contact")
CREATORS = ("alice", "bob")
AUTHORS = ("alice", "carol")


def creator_of(name: str) -> bytes:
    """The pid of a name."""
    return named(name).public.pid


def cred_of(name: str) -> bytes:
    """The grant under which a name writes."""
    return body_hash_of(b"grant " + name.encode())


@cache
def version(
    record: int = 1,
    second: int = 0,
    *,
    creator: str = "alice",
    author: str | None = None,
    durable: bool = True,
    body: bytes | None = None,
    size: int | None = None,
    record_type: str = "note",
    life_s: int = 100,
    attributes: tuple[Attribute, ...] = (),
) -> Header:
    """A version of a creator's record, written some seconds after the start."""
    author = author or creator
    return sign_header(
        named(author),
        gid=GID,
        record_id=new_record_id(GID, creator_of(creator), durable, record.to_bytes(8, "big")),
        type=record_type,
        creator=creator_of(creator),
        cred=cred_of(author),
        created=hlc_at(START_S * 1000),
        hlc=hlc_at((START_S + second) * 1000),
        expires=None if durable else START_S + second + life_s,
        attributes=attributes,
        body_hash=None if body is None else body_hash_of(body),
        size=0 if body is None else size or len(body),
    )


@cache
def pool() -> tuple[Header, ...]:
    """Versions of which some share a record, a body, a second, or what else might be mixed up."""
    told = []
    for number, (creator, durable, record) in enumerate(product(CREATORS, (True, False), (1, 2))):
        for second, author in enumerate(AUTHORS):
            body = ((None, *BODIES) * 2)[(number + second) % 5]
            attributes = (Attribute("n", 1, number), Attribute("n", 2, f"text {second}"))[: number % 3]
            told.append(
                version(
                    record,
                    second * 10 + record,
                    creator=creator,
                    author=author,
                    durable=durable,
                    body=body,
                    size=None if body is None else len(body) + second,
                    record_type=TYPES[record - 1],
                    attributes=attributes,
                )
            )
    return tuple(told)


# --- the model ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A version in the model; `names` until its body is released."""

    header: Header
    state: State
    arrival: int
    at_ms: int
    names: bytes | None

    def version(self) -> Version:
        header = self.header
        return Version(
            header.id, header.record_id, header.creator, header.author, header.cred, header.hlc, self.state
        )


@dataclass
class Model:
    """A record set that keeps lists. It has no transactions: whoever wants one copies it."""

    lines: dict[bytes, Line] = field(default_factory=dict)
    held: dict[bytes, bytes] = field(default_factory=dict)
    showing: dict[bytes, Header] = field(default_factory=dict)
    refreshing: dict[bytes, int] = field(default_factory=dict)
    arrival: int = 0

    def copy(self) -> Model:
        return Model(
            dict(self.lines), dict(self.held), dict(self.showing), dict(self.refreshing), self.arrival
        )

    # --- writes

    def flush(self) -> None:
        """Nothing is held back."""

    def expect(self, headers: Sequence[Header]) -> None:
        """Everything is at hand."""

    def put_version(self, header: Header, state: State, at_ms: int) -> None:
        self.arrival += 1
        self.lines[header.id] = Line(header, state, self.arrival, at_ms, header.body_hash)

    def set_state(self, version_id: bytes, state: State, at_ms: int) -> None:
        line = replace(self.lines[version_id], state=state, at_ms=at_ms)
        if state is KEPT:
            self.arrival += 1
            line = replace(line, arrival=self.arrival)
        self.lines[version_id] = line

    def discard_version(self, version_id: bytes) -> None:
        header = self.lines.pop(version_id).header
        if self.shown(header.record_id) == version_id:
            del self.showing[header.record_id]
        self._let_go()

    def release_body(self, version_id: bytes) -> None:
        self.lines[version_id] = replace(self.lines[version_id], names=None)
        self._let_go()

    def _let_go(self) -> None:
        self.held = {name: data for name, data in self.held.items() if self.names_body(name)}

    def put_body(self, body_hash: bytes, data: bytes) -> None:
        self.held[body_hash] = data

    def show(self, header: Header) -> None:
        self.showing[header.record_id] = header

    def hide(self, record_id: bytes) -> None:
        self.showing.pop(record_id, None)

    def set_refresh(self, record_id: bytes, life_s: int | None) -> None:
        self.refreshing.pop(record_id, None)
        if life_s is not None:
            self.refreshing[record_id] = life_s

    # --- questions

    def kept(self) -> list[Line]:
        return sorted((line for line in self.lines.values() if line.state is KEPT), key=_age)

    def aside(self) -> list[Line]:
        aside = (line for line in self.lines.values() if line.state is ASIDE)
        return sorted(aside, key=lambda line: (line.at_ms, line.header.id))

    def load_versions(self) -> Iterable[tuple[int, bytes, bool]]:
        kept = sorted(self.kept(), key=lambda line: line.header.durable)
        return [(line.header.hlc_s, line.header.id, line.header.durable) for line in kept]

    def header(self, version_id: bytes) -> bytes | None:
        return self.lines[version_id].header.raw if version_id in self.lines else None

    def version(self, version_id: bytes) -> Version | None:
        return self.lines[version_id].version() if version_id in self.lines else None

    def versions(self, record_id: bytes) -> list[Version]:
        return [line.version() for line in self.lines.values() if line.header.record_id == record_id]

    def records_citing(self, cred: bytes) -> list[bytes]:
        headers = [line.header for line in self.lines.values()]
        return sorted({header.record_id for header in headers if header.cred == cred})

    def kept_before(self, hlc: int, limit: int) -> list[Version]:
        before = [line for line in self.kept() if line.header.hlc < hlc and not line.header.durable]
        return [line.version() for line in before[:limit]]

    def kept_ahead(self, hlc: int, limit: int) -> list[Version]:
        ahead = [line for line in self.kept() if line.header.hlc > hlc]
        return [line.version() for line in reversed(ahead)][:limit]

    def aside_oldest(self, limit: int) -> list[tuple[int, bytes]]:
        return [(line.at_ms, line.header.id) for line in self.aside()[:limit]]

    def aside_count(self) -> tuple[int, int]:
        sizes = [len(line.header.raw) + (line.header.size if line.names else 0) for line in self.aside()]
        return len(sizes), sum(sizes)

    def arrived_after(self, arrival: int, limit: int) -> list[tuple[int, bytes]]:
        arrivals = sorted((line.arrival, line.header.id) for line in self.kept())
        return [found for found in arrivals if found[0] > arrival][:limit]

    def last_arrival(self) -> int:
        return self.arrival

    def body(self, body_hash: bytes) -> bytes | None:
        return self.held.get(body_hash)

    def has_body(self, body_hash: bytes) -> bool:
        return body_hash in self.held

    def names_body(self, body_hash: bytes) -> bool:
        return any(line.names == body_hash for line in self.lines.values())

    def versions_naming(self, body_hash: bytes, limit: int) -> list[Version]:
        return [line.version() for line in self.lines.values() if line.names == body_hash][:limit]

    def wanted_bodies(self, after: bytes, limit: int) -> list[WantedBody]:
        wanted: dict[bytes, int] = {}
        for header in self.showing.values():
            name = self.lines[header.id].names
            if name is not None and name not in self.held and name > after:
                wanted[name] = max(header.size, wanted.get(name, 0))
        return [WantedBody(name, wanted[name]) for name in sorted(wanted)][:limit]

    def _ids(self, creator: bytes) -> list[bytes]:
        return sorted({line.header.record_id for line in self.kept() if line.header.creator == creator})

    def ids_of(self, creator: bytes) -> int:
        return len(self._ids(creator))

    def largest_id(self, creator: bytes) -> bytes | None:
        return max(self._ids(creator), default=None)

    def bytes_of(self, creator: bytes) -> int:
        lines = [line for line in self.kept() if line.header.creator == creator]
        return sum(len(self.held.get(line.names or b"", b"")) for line in lines)

    def shown(self, record_id: bytes) -> bytes | None:
        return self.showing[record_id].id if record_id in self.showing else None

    def shown_of_type(self, record_type: str, after: bytes, limit: int) -> list[bytes]:
        shown = sorted(self.showing.items())
        ids = [record_id for record_id, header in shown if header.type == record_type and record_id > after]
        return ids[:limit]

    def _ends(self) -> list[tuple[int, bytes]]:
        shown = self.showing.values()
        return sorted((header.expires, header.record_id) for header in shown if header.expires is not None)

    def ended(self, at_s: int, limit: int) -> list[bytes]:
        return [record_id for end, record_id in self._ends() if end <= at_s][:limit]

    def next_end(self) -> int | None:
        return min((end for end, _ in self._ends()), default=None)

    def refreshes(self, after: bytes, limit: int) -> list[tuple[bytes, int]]:
        return [found for found in sorted(self.refreshing.items()) if found[0] > after][:limit]


def _age(line: Line) -> tuple[int, bytes]:
    return line.header.hlc, line.header.id


def records_of(store: Any) -> dict[str, Any]:
    """All that can be asked about the versions of `pool`, in a form that can be compared."""
    return {question: ask(store, question) for question in QUESTIONS}


def ask(store: Any, question: str) -> Any:
    """What a set answers to one question about everything in `pool`."""
    return QUESTIONS[question](getattr(store, question))


_IDS = [header.id for header in pool()]
_RECORDS = sorted({header.record_id for header in pool()})
_PIDS = [creator_of(name) for name in CREATORS]
_HASHES = sorted(map(body_hash_of, BODIES))
_HLCS = sorted({header.hlc for header in pool()})

QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "load_versions": lambda asked: list(asked()),
    "header": lambda asked: list(map(asked, _IDS)),
    "version": lambda asked: list(map(asked, _IDS)),
    "versions": lambda asked: [sorted(asked(record_id), key=lambda one: one.id) for record_id in _RECORDS],
    "records_citing": lambda asked: [asked(cred_of(name)) for name in (*CREATORS, *AUTHORS)],
    "kept_before": lambda asked: [asked(hlc, limit) for hlc in _HLCS for limit in (1, ALL)],
    "kept_ahead": lambda asked: [asked(hlc, limit) for hlc in _HLCS for limit in (2, ALL)],
    "aside_oldest": lambda asked: [asked(limit) for limit in (1, ALL)],
    "aside_count": lambda asked: asked(),
    "arrived_after": lambda asked: [asked(number, limit) for number in (0, 3) for limit in (2, ALL)],
    "last_arrival": lambda asked: asked(),
    "body": lambda asked: list(map(asked, _HASHES)),
    "has_body": lambda asked: list(map(asked, _HASHES)),
    "names_body": lambda asked: list(map(asked, _HASHES)),
    "versions_naming": lambda asked: [
        (sorted(asked(name, ALL), key=lambda one: one.id), len(asked(name, 1))) for name in _HASHES
    ],
    "wanted_bodies": lambda asked: [asked(name, limit) for name in (b"", _HASHES[0]) for limit in (1, ALL)],
    "ids_of": lambda asked: list(map(asked, _PIDS)),
    "largest_id": lambda asked: list(map(asked, _PIDS)),
    "bytes_of": lambda asked: list(map(asked, _PIDS)),
    "shown": lambda asked: list(map(asked, _RECORDS)),
    "shown_of_type": lambda asked: [
        asked(one, after, limit) for one in TYPES for after in (b"", _RECORDS[3]) for limit in (1, ALL)
    ],
    "ended": lambda asked: [asked(START_S + end, limit) for end in (101, 111, 112) for limit in (1, ALL)],
    "next_end": lambda asked: asked(),
    "refreshes": lambda asked: [asked(after, limit) for after in (b"", _RECORDS[0]) for limit in (1, ALL)],
}
