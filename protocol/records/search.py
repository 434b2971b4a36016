"""A search: which records, in which order, how many.

Both languages end in a `Query`: the expressions of `expression` and the original's documents of `peersearch`.
`select` is what a query means; the store finds the same with its indexes.

*Order.* A record without the field comes last, up or down. Of several entries the smallest counts upwards and
the largest downwards; kinds stand in the order of their codes: integers, strings, dates. What is equal goes
by record id, so that the order is total. A query that asks for no order gets its records as they were made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from protocol.errors import RuleError
from protocol.limits import SEARCH_DEPTH_MAX, SEARCH_TERMS_MAX, SEARCH_WILDCARDS_MAX
from protocol.records.predicate import (
    PEER_FIELDS,
    Field,
    PeerNames,
    Predicate,
    RecordFacts,
    built_in,
    matches,
    with_names,
)

LIMIT_MAX = 2**53  # of what a query may ask for in all: exact in JSON; pages bound what is held at once
HINT = 'write it like: title ~ "draft*" and priority >= 3 order by modified desc limit 10'


@dataclass(frozen=True, slots=True)
class Order:
    """Order by a field, upwards unless `descending`."""

    field: Field
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; `where` None means all records, `limit` None as many as there are."""

    where: Predicate | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None

    @property
    def keys(self) -> tuple[Order, ...]:
        """The order that counts; behind it, always, the record id."""
        return self.order or (Order(built_in("created")),)


def named(query: Query, names: PeerNames) -> Query:
    """Look up the peers that a query names; see `with_names`."""
    return query if query.where is None else replace(query, where=with_names(query.where, names))


def select(query: Query, records: Iterable[RecordFacts], now_s: int) -> list[RecordFacts]:
    """The records that a query finds at a second, in order."""
    found = [
        facts
        for facts in records
        if (facts.expires is None or facts.expires > now_s)
        and (query.where is None or matches(query.where, facts))
    ]
    found.sort(key=lambda facts: facts.record_id)
    for order in reversed(query.keys):
        found = _ordered(found, order)
    return found[: query.limit]


def _ordered(found: list[RecordFacts], order: Order) -> list[RecordFacts]:
    keyed = [(_key(facts, order), facts) for facts in found]
    there = [(key, facts) for key, facts in keyed if key is not None]
    there.sort(key=lambda pair: pair[0], reverse=order.descending)
    return [facts for _, facts in there] + [facts for key, facts in keyed if key is None]


def _key(facts: RecordFacts, order: Order) -> tuple[int, int | str] | None:
    if order.field.built_in and order.field.name in PEER_FIELDS:
        return 0, getattr(facts, order.field.name).hex()
    entries = list(facts.entries(order.field))
    if not entries:
        return None
    return entries[-1] if order.descending else entries[0]


# --- refusals, shared by both languages -------------------------------------------------------------------


def invalid_search(reason: str, hint: str = HINT) -> RuleError:
    """The refusal of a query."""
    return RuleError("invalid-search", f"the query cannot be used: {reason}", hint=hint)


def check_depth(depth: int) -> None:
    """Raises: RuleError (invalid-search) where a query nests too deep."""
    if depth > SEARCH_DEPTH_MAX:
        raise invalid_search(f"it is nested more than {SEARCH_DEPTH_MAX} deep", "ask two simpler questions")


def check_terms(terms: int) -> None:
    """Raises: RuleError (invalid-search) where a query makes too many comparisons."""
    if terms > SEARCH_TERMS_MAX:
        raise invalid_search(
            f"it makes more than {SEARCH_TERMS_MAX} comparisons", "ask for fewer things at once"
        )


def check_wildcards(wildcards: int) -> None:
    """Raises: RuleError (invalid-search) where a pattern has too many wildcards."""
    if wildcards > SEARCH_WILDCARDS_MAX:
        raise invalid_search(
            f"a pattern has more than {SEARCH_WILDCARDS_MAX} wildcards", "search for less of the text"
        )
