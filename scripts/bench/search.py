"""Searching a group's file: the first page of what each query finds among so many records.

Every record has six attributes; one in two expires. Times are wall time, the median of some searches, each
with a connection of its own, as the daemon makes them; the first search of a query is not counted. Beside
each stands the bound that it was built for: 10 ms where an index answers, a second everywhere else.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from pathlib import Path

from peerd.clock import calendar_ms, steady_s
from peerd.store.group_store import GroupStore
from protocol.credentials.keys import PrivateKey
from protocol.peer_time import hlc_at
from protocol.records.attributes import DATE, INT, STRING, Attribute, canonical_attributes
from protocol.records.dates import date_text
from protocol.records.expression import parse_expression
from protocol.records.record import Header, new_record_id, sign_header
from protocol.records.record_set import State
from scripts.bench.figures import Row, Spent, per_second

PAGE = 100
BATCH = 1_000
_AUTHORS = tuple(PrivateKey.from_seed(bytes([number]) * 32) for number in range(50))
_GID = b"\x01" * 32
_CRED = b"\x02" * 32
_TYPES = ("note", "note", "note", "task")
_INDEXED = "10 ms where an index answers"
_ANY = "1,000 ms"

QUERIES = (
    ("", _INDEXED),
    ("order by modified desc limit 10", _INDEXED),
    ('record_type = "task"', _INDEXED),
    ('author = "person 5"', _INDEXED),
    ('author = "person 5" and priority >= 3 and not title ~ "draft*" order by modified desc', _INDEXED),
    ('title ~ "word 11 *"', _INDEXED),
    ('tag in ("word 7", "word 8") order by title', _INDEXED),
    ("due < {early}", _INDEXED),
    ('title ~ "*nowhere*"', _ANY),
    ("not exists title", _ANY),
    ("priority = 3 and priority = 4", _ANY),
    ("size > 998", _ANY),
    ("order by priority desc, title", _ANY),
    ('title ~ "*a*b*c*d*e*" or tag ~ "*?*?*?*zz"', _ANY),
)


def rows(directory: Path, records: int, rounds: int = 5) -> list[Row]:
    """Fill a file and search it."""
    store = GroupStore(directory / "search.db")
    start_ms = calendar_ms()
    filling = Spent()
    with filling.running():
        _fill(store, records, start_ms)
    beside = f"{per_second(records, filling.wall_s):,.0f} /s, signing included"
    table = [Row(f"{records:,} records signed and shown", f"{filling.wall_s:,.1f} s", beside)]
    early = date_text(start_ms // 1000 * 1000 + 10_000)
    for text, bound in QUERIES:
        query = text.format(early=early)
        taken = [_search_ms(store, query, start_ms // 1000) for _ in range(rounds + 1)][1:]
        table.append(Row(text or "(all)", f"{statistics.median(taken):,.1f} ms", bound))
    store.close()
    return table


def _search_ms(store: GroupStore, text: str, now_s: int) -> float:
    began_s = steady_s()
    store.search(parse_expression(text), now_s=now_s, page=PAGE)
    return (steady_s() - began_s) * 1000


def _fill(store: GroupStore, records: int, start_ms: int) -> None:
    headers = _headers(records, start_ms)
    for first in range(0, records, BATCH):
        store.begin()
        for _, header in zip(range(min(BATCH, records - first)), headers, strict=False):
            store.put_version(header, State.KEPT, start_ms)
            store.show(header)
        store.commit()


def _headers(records: int, start_ms: int) -> Iterator[Header]:
    rng = random.Random(0)  # noqa: S311
    words = [f"word {number}" for number in range(5_000)]
    for number in range(records):
        key, at_ms = rng.choice(_AUTHORS), start_ms + number
        durable = number % 2 == 0
        attributes = canonical_attributes(
            (
                Attribute("title", STRING, " ".join(rng.choices(words, k=3))),
                Attribute("author", STRING, f"person {rng.randrange(1_000)}"),
                Attribute("priority", INT, rng.randrange(10)),
                Attribute("due", DATE, at_ms + 1000 * rng.randrange(86_400)),
                Attribute("tag", STRING, rng.choice(words)),
                Attribute("tag", STRING, f"{rng.choice(words)}, too"),
            )
        )
        yield sign_header(
            key,
            gid=_GID,
            record_id=new_record_id(_GID, key.public.pid, durable, rng.randbytes(8)),
            type=rng.choice(_TYPES),
            creator=key.public.pid,
            cred=_CRED,
            created=hlc_at(at_ms),
            hlc=hlc_at(at_ms + rng.randrange(1_000_000)),
            expires=None if durable else start_ms // 1000 + 86_400,
            attributes=attributes,
            body_hash=rng.randbytes(32),
            size=rng.randrange(1, 1_000),
        )
