"""The language of searches: every documented form, every refusal with its place, and no third outcome."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import RuleError
from protocol.limits import (
    ATTRIBUTE_NAME_CHARACTERS_MAX,
    SEARCH_BYTES_MAX,
    SEARCH_DEPTH_MAX,
    SEARCH_ORDERS_MAX,
    SEARCH_TERMS_MAX,
    SEARCH_WILDCARDS_MAX,
)
from protocol.records.attributes import DATE, INT, INT_MAX, INT_MIN, STRING
from protocol.records.expression import parse_expression
from protocol.records.predicate import And, Compare, Exists, Field, Like, Not, Op, Or, Predicate, built_in
from protocol.records.search import LIMIT_MAX, Order, Query
from tests.support.searches import expression, expression_of, predicates, queries

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
JANUARY_2_MS = 1_767_312_000_000  # 2026-01-02T00:00:00Z


def where(text: str) -> Predicate:
    query = parse_expression(text, NOW_MS)
    assert query == Query(query.where)
    assert query.where is not None
    return query.where


def equal(name: str, value: int | str, kind: int | None = None, op: Op = Op.EQUAL) -> Compare:
    return Compare(Field(name), kind or (INT if isinstance(value, int) else STRING), op, value)


def refusal(text: str, now_ms: int | None = NOW_MS) -> str:
    with pytest.raises(RuleError) as caught:
        parse_expression(text, now_ms)
    assert caught.value.code == "invalid-search"
    assert caught.value.hint
    assert caught.value.detail.isprintable()
    return caught.value.detail.removeprefix("the query cannot be used: ")


# --- what is written is read ------------------------------------------------------------------------------


@given(predicates())
def test_predicate_is_read_back_as_it_was_written(predicate):
    assert parse_expression(expression(predicate)) == Query(predicate)


@given(queries().filter(lambda query: "ByPeer" not in repr(query)))
def test_query_is_read_back_as_it_was_written(query):
    assert parse_expression(expression_of(query)) == query


def test_example_of_the_design():
    found = parse_expression(
        'author = "…" and priority >= 3 and not title ~ "draft*" order by modified desc limit 10'
    )
    assert found == Query(
        And(
            (
                equal("author", "…"),
                equal("priority", 3, op=Op.GREATER_OR_EQUAL),
                Not(Like(Field("title"), "draft*")),
            )
        ),
        (Order(built_in("modified"), descending=True),),
        10,
    )


@pytest.mark.parametrize(
    "text, predicate",
    [
        ('a = "x"', equal("a", "x")),
        ("a = 'x'", equal("a", "x")),
        ("a != 3", equal("a", 3, op=Op.NOT_EQUAL)),
        ("a<-3", equal("a", -3, op=Op.LESS)),
        ("a <= 007", equal("a", 7, op=Op.LESS_OR_EQUAL)),
        (f"a > {INT_MIN}", equal("a", INT_MIN, op=Op.GREATER)),
        (f"a >= {INT_MAX}", equal("a", INT_MAX, op=Op.GREATER_OR_EQUAL)),
        ("a = 2026-01-02", equal("a", JANUARY_2_MS, DATE)),
        ("a = 2026-01-02T01:00:00.5+01:00", equal("a", JANUARY_2_MS + 500, DATE)),
        ('a = date("2026-01-02")', equal("a", JANUARY_2_MS, DATE)),
        ("a = date(2026-01-02)", equal("a", JANUARY_2_MS, DATE)),
        ('a = "2026-01-02"', equal("a", "2026-01-02")),
        ("a > now", equal("a", NOW_MS, DATE, Op.GREATER)),
        ("a > now - 7d", equal("a", NOW_MS - 7 * DAY_MS, DATE, Op.GREATER)),
        ("a < now+2h", equal("a", NOW_MS + DAY_MS // 12, DATE, Op.LESS)),
        ("a > NOW - 1w", equal("a", NOW_MS - 7 * DAY_MS, DATE, Op.GREATER)),
        ("a > now - 90m", equal("a", NOW_MS - 5_400_000, DATE, Op.GREATER)),
        ("a > now - 45s", equal("a", NOW_MS - 45_000, DATE, Op.GREATER)),
        ("a in (1)", equal("a", 1)),
        ('a in (1, "x")', Or((equal("a", 1), equal("a", "x")))),
        ("exists a", Exists(Field("a"))),
        ("not exists a", Not(Exists(Field("a")))),
        (r'a ~ "x\*\?\\*?"', Like(Field("a"), r"x\*\?\\*?")),
        (r'a ~ "say \"x\" *"', Like(Field("a"), 'say "x" *')),
        (r'a = "say \"x\" \\ it\'s"', equal("a", r"""say "x" \ it's""")),
        ("a = 'say \"x\"'", equal("a", 'say "x"')),
        ("a=1 or b=2 and c=3", Or((equal("a", 1), And((equal("b", 2), equal("c", 3)))))),
        ("(a=1 or b=2) and c=3", And((Or((equal("a", 1), equal("b", 2))), equal("c", 3)))),
        ("not a=1 and b=2", And((Not(equal("a", 1)), equal("b", 2)))),
        ("not (a=1 and b=2)", Not(And((equal("a", 1), equal("b", 2))))),
        ("((a=1))", equal("a", 1)),
        ("a=1 AND NOT b=2 Or EXISTS c", Or((And((equal("a", 1), Not(equal("b", 2)))), Exists(Field("c"))))),
        ("A = 1 and a = 2", And((equal("A", 1), equal("a", 2)))),
        (" \t\r\n a\n=\n1 ", equal("a", 1)),
        ("attributes.order = 1", equal("order", 1)),
        ("attributes.7up = 1", equal("7up", 1)),
        ("attributes.version = 1", equal("version", 1)),
        ("attributes = 1", equal("attributes", 1)),
        ("date = 1 and now = 2 and true = 3", And((equal("date", 1), equal("now", 2), equal("true", 3)))),
        ("version = 1", Compare(built_in("version"), INT, Op.EQUAL, 1)),
        ("durable = true", Compare(built_in("durable"), INT, Op.EQUAL, 1)),
        ("durable = false", Compare(built_in("durable"), INT, Op.EQUAL, 0)),
        ('record_type = "note"', Compare(built_in("record_type"), STRING, Op.EQUAL, "note")),
        ('created >= "2026-01-02"', Compare(built_in("created"), DATE, Op.GREATER_OR_EQUAL, JANUARY_2_MS)),
        ("modified > now - 1d", Compare(built_in("modified"), DATE, Op.GREATER, NOW_MS - DAY_MS)),
        ('creator ~ "ab*"', Like(built_in("creator"), "ab*")),
    ],
)
def test_documented_forms(text, predicate):
    assert where(text) == predicate


@pytest.mark.parametrize(
    "text, query",
    [
        ("", Query()),
        ("  ", Query()),
        ("limit 5", Query(limit=5)),
        (f"LIMIT {LIMIT_MAX}", Query(limit=LIMIT_MAX)),
        ("order by a", Query(order=(Order(Field("a")),))),
        (
            "ORDER BY a DESC, created asc, attributes.limit limit 1",
            Query(
                order=(Order(Field("a"), True), Order(built_in("created")), Order(Field("limit"))), limit=1
            ),
        ),
        ("a=1 order by size", Query(equal("a", 1), (Order(built_in("size")),))),
    ],
)
def test_order_and_limit(text, query):
    assert parse_expression(text) == query


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, reason",
    [
        ('a = "x', "at character 5: this quote is never closed"),
        ("a = @x y", "at character 5: @x is no number, no name, no text in quotes and no operator"),
        ("a = 12x", "at character 5: 12x is no number, no name, no text in quotes and no operator"),
        (
            "a",
            "at character 2: expected an operator after a: = != < <= > >= ~ or in, but there the query ends",
        ),
        ("a 5", "at character 3: expected an operator after a: = != < <= > >= ~ or in, but there 5 stands"),
        (
            "a = ",
            "at character 5: expected a number, a date, or text in quotes to compare a with,"
            " but there the query ends",
        ),
        (
            "a = x",
            "at character 5: expected a number, a date, or text in quotes to compare a with,"
            " but there x stands",
        ),
        (
            "a = true",
            "at character 5: expected a number, a date, or text in quotes to compare a with,"
            " but there true stands",
        ),
        (
            "a=1 b=2",
            "at character 5: expected and, or, order by, limit, or the end of the query, but there b stands",
        ),
        ("(a=1", "at character 5: expected and, or, or a closing parenthesis, but there the query ends"),
        (
            "a=1)",
            "at character 4: expected and, or, order by, limit, or the end of the query, but there ) stands",
        ),
        (
            "not",
            "at character 4: expected a field, not, exists, or an opening parenthesis,"
            " but there the query ends",
        ),
        (
            "in = 1",
            "at character 1: expected a field, not, exists, or an opening parenthesis,"
            " but there in is a word of the language (an attribute: attributes.in)",
        ),
        ("Order = 1", "at character 7: expected by after order, but there = stands"),
        ("exists 5", "at character 8: expected the name of an attribute, but there 5 stands"),
        ("a in 1", "at character 6: expected an opening parenthesis after in, but there 1 stands"),
        (
            "a in ()",
            "at character 7: expected a number, a date, or text in quotes to compare a with,"
            " but there ) stands",
        ),
        ("a in (1 2)", "at character 9: expected a comma or a closing parenthesis, but there 2 stands"),
        ("a ~ 5", "at character 5: expected a pattern in quotes after ~, but there 5 stands"),
        ("size ~ '5'", "at character 8: ~ compares text, and size is an integer"),
        ("created ~ '2026*'", "at character 11: ~ compares text, and created is a date"),
        ("created > 5", "at character 11: created is compared with a date"),
        ("created > 'x'", "at character 11: expected a date like 2026-01-02 or 2026-01-02T10:30:00Z"),
        ("size = '5'", "at character 8: size is compared with an integer"),
        ("record_type in ('a', 5)", "at character 22: record_type is compared with text in quotes"),
        ("a = 2026-02-30", "at character 5: expected a date like 2026-01-02 or 2026-01-02T10:30:00Z"),
        (
            "a = 2026-01-02T10:30:00",
            "at character 5: expected a date like 2026-01-02 or 2026-01-02T10:30:00Z",
        ),
        ("a = date 5", "at character 10: expected an opening parenthesis after date, but there 5 stands"),
        (
            "a = date(5)",
            "at character 10: expected a date like 2026-01-02 or 2026-01-02T10:30:00Z, but there 5 stands",
        ),
        ("a = date('2026'", "at character 16: expected a closing parenthesis, but there the query ends"),
        ("a > now - 5", "at character 11: expected a duration like 7d, 12h, 30m or 45s, but there 5 stands"),
        (
            "a > now - 99999999999d",
            "at character 11: expected a duration like 7d, 12h, 30m or 45s, but there 99999999999d stands",
        ),
        (f"a = {INT_MAX + 1}", f"at character 5: integers are from {INT_MIN} to {INT_MAX}"),
        (f"a = {INT_MIN - 1}", f"at character 5: integers are from {INT_MIN} to {INT_MAX}"),
        (
            'a = "draft\\*"',
            r"at character 11: a backslash is for \\ and quotes (wildcards are for ~)",
        ),
        ('a ~ "dr\\aft"', r"at character 8: a backslash is for \* \? \\ and quotes"),
        (
            "record_tpye = 'x'",
            "at character 1: there is no field record_tpye; a record has record_id, record_type, version,"
            " creator, modified_by, created, modified, expires, size, durable",
        ),
        ("order by", "at character 9: expected a field to order by, but there the query ends"),
        ("order a", "at character 7: expected by after order, but there a stands"),
        (
            "order by a descending",
            "at character 12: expected limit, or the end of the query, but there descending stands",
        ),
        ("limit", "at character 6: expected a number after limit, but there the query ends"),
        ("limit 0", f"at character 7: a limit is from 1 to {LIMIT_MAX}"),
        (f"limit {LIMIT_MAX + 1}", f"at character 7: a limit is from 1 to {LIMIT_MAX}"),
        (
            "limit 5 order by a",
            "at character 9: expected the end of the query, but there order is a word of the"
            " language (an attribute: attributes.order)",
        ),
        (
            "a = " + "x" * 50,
            "at character 5: expected a number, a date, or text in quotes to compare a with,"
            f" but there {'x' * 20}… stands",
        ),
        ("a = \u202e", "at character 5: the character U+202E stands outside of quotes"),
        ("a = 1\xa0and b = 2", "at character 6: the character U+00A0 stands outside of quotes"),
        ("a = '\0'", "at character 6 stands U+0000, which nothing holds"),
        ("a = '\ufffe'", "at character 6 stands U+FFFE, which nothing holds"),
        ("a = '\ud800'", "at character 6 stands U+D800, which nothing holds"),
    ],
)
def test_refusal_says_where_and_what_was_expected(text, reason):
    assert refusal(text) == reason


def test_now_needs_somebody_to_say_what_it_is():
    assert refusal("a > now - 7d", None) == "at character 5: now has no meaning here; write a date"
    assert parse_expression("a > now - 7d", 0) == Query(equal("a", -7 * DAY_MS, DATE, Op.GREATER))


# --- bounds -----------------------------------------------------------------------------------------------


def test_query_may_have_so_many_bytes():
    text = f'a = "{"é" * ((SEARCH_BYTES_MAX - 6) // 2)}"'
    assert len(text.encode()) == SEARCH_BYTES_MAX
    where(text)
    assert refusal(text + " ") == f"it has more than {SEARCH_BYTES_MAX} bytes"


def test_query_may_be_so_deep():
    for opening, closing, deep in (("(", ")", 1), ("not ", "", 1), ("not (", ")", 2)):
        steps = (SEARCH_DEPTH_MAX - 1) // deep
        where(opening * steps + "a=1" + closing * steps)
        assert "nested more than" in refusal(opening * (steps + 1) + "a=1" + closing * (steps + 1))


def test_query_may_compare_so_often():
    terms = ["a=1"] * SEARCH_TERMS_MAX
    where(" or ".join(terms))
    assert "comparisons" in refusal(" or ".join([*terms, "exists a"]))
    values = ",".join("1" * SEARCH_TERMS_MAX)
    where(f"a in ({values})")
    assert "comparisons" in refusal(f"a in ({values},1)")


def test_pattern_may_have_so_many_wildcards():
    where(f"a ~ '{'?*' * (SEARCH_WILDCARDS_MAX // 2)}'")
    assert "wildcards" in refusal(f"a ~ '{'?' * (SEARCH_WILDCARDS_MAX + 1)}'")
    where(f"a ~ '{'*?' * (SEARCH_WILDCARDS_MAX // 2)}' and a ~ '*'")


def test_query_may_order_by_so_many_fields():
    keys = ["a"] * SEARCH_ORDERS_MAX
    assert len(parse_expression(f"order by {','.join(keys)}").order) == SEARCH_ORDERS_MAX
    assert "fields" in refusal(f"order by {','.join([*keys, 'a'])}")


def test_name_may_be_so_long():
    name = "a" * ATTRIBUTE_NAME_CHARACTERS_MAX
    where(f"{name} = 1 and attributes.{name} = 1")
    for field in (f"{name}a", f"attributes.{name}a"):
        assert refusal(f"{field} = 1").endswith("has at most 40 characters")


# --- any text ---------------------------------------------------------------------------------------------

TOKENS = (
    "a", "b", "record_type", "created", "size", "durable", "attributes.a", "attributes.", "record_", "and",
    "or", "not", "exists", "in", "order", "by", "limit", "asc", "desc", "date", "now", "true", "(", ")", ",",
    "=", "!=", "<", "<=", ">", ">=", "~", "+", "-", "!", "==", "'x'", '"a*?"', '"\\*"', '"\\x"', "'", '"',
    "\\", "1", "-1", "007", "7d", "7x", "2026-01-02", "2026-01-02T10:30:00Z", "2026-13-01", "9" * 20,
    "9" * 5000, "\0", "\ud800", "é", ".", "#",
)  # fmt: skip


def outcome(text: str) -> Query | str:
    try:
        return parse_expression(text, NOW_MS)
    except RuleError as error:
        return f"{error.code}: {error.detail}"


def check_read_or_refused(text: str) -> None:
    found = outcome(text)
    assert isinstance(found, Query) or (found.startswith("invalid-search: ") and found.isprintable())


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_refused(text):
    check_read_or_refused(text)


@given(st.lists(st.sampled_from(TOKENS), max_size=14), st.sampled_from(("", " ")))
def test_any_tokens_are_a_query_or_refused(tokens, between):
    check_read_or_refused(between.join(tokens))


@given(predicates().map(expression), st.data())
def test_any_cut_of_a_query_is_a_query_or_refused(text, data):
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    check_read_or_refused(text[:begin] + text[end:])
    check_read_or_refused(text[begin:end])


@pytest.mark.parametrize("piece", ["(", "not ", "a=1 and ", "'", '"\\', "a in (1,", "order by a,", "-", "7"])
def test_long_text_of_one_piece_is_refused_soon(piece):
    refusal(piece * (SEARCH_BYTES_MAX // len(piece)))
