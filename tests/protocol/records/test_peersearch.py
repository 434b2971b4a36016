"""The original's search documents: its own examples, its rules one by one, and any other text refused."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import RuleError
from protocol.limits import SEARCH_BYTES_MAX, SEARCH_DEPTH_MAX, SEARCH_TERMS_MAX, SEARCH_WILDCARDS_MAX
from protocol.records.attributes import DATE, INT, INT_MAX, INT_MIN, RESERVED_NAMES, STRING
from protocol.records.expression import parse_expression
from protocol.records.peersearch import parse_peersearch
from protocol.records.predicate import And, Compare, Field, Like, Not, Op, Or, Predicate, built_in
from protocol.records.search import Query
from tests.support.searches import COMPARES, WINDOWS_NAMES, expression, peersearch, windows_predicates

HEAD = '<?xml version="1.0" encoding="utf-8" ?>\n<peersearch xmlns:xs="http://www.w3.org/2001/XMLSchema">\n'
PETERS = '<clause attrib="peercreatorid" type="string" compare="equal">James Peters</clause>'
AFTER = '<clause attrib="peerlastmodificationtime" type="date" compare="greater">2003-01-31</clause>'
BEFORE = '<clause attrib="peerlastmodificationtime" type="date" compare="less">2003-02-28</clause>'
BY_PETERS = Compare(built_in("creator"), STRING, Op.EQUAL, "James Peters")
BETWEEN = And(
    (
        Compare(built_in("modified"), DATE, Op.GREATER, 1_043_971_200_000),
        Compare(built_in("modified"), DATE, Op.LESS, 1_046_390_400_000),
    )
)


def document(inside: str) -> str:
    return f"{HEAD}{inside}\n</peersearch>"


def clause(value: str, told: str = 'attrib="a"') -> str:
    return document(f"<clause {told}>{value}</clause>")


def where(text: str | bytes) -> Predicate:
    query = parse_peersearch(text)
    assert query == Query(query.where)
    assert query.where is not None
    return query.where


def refusal(text: str | bytes, code: str = "invalid-search") -> str:
    with pytest.raises(RuleError) as caught:
        parse_peersearch(text)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.detail.isprintable()
    return caught.value.detail.removeprefix("the query cannot be used: ")


# --- what the original documents --------------------------------------------------------------------------


def test_example_of_one_clause():
    assert where(document(PETERS)) == BY_PETERS


def test_example_of_either():
    assert where(document(f"<or>{PETERS}\n<and>{AFTER}\n{BEFORE}</and></or>")) == Or((BY_PETERS, BETWEEN))


def test_example_of_both():
    assert where(document(f"<and>\n{PETERS}<and>{AFTER}{BEFORE}</and></and>")) == And((BY_PETERS, BETWEEN))


def test_example_of_a_query_that_is_incorrect():
    inside = f"{PETERS}\n<and>{AFTER}{BEFORE}</and>"
    assert (
        refusal(document(inside))
        == "line 5: peersearch holds 2 elements, not one: put them into <and> or <or>"
    )


def test_example_with_a_date_that_is_none():
    inside = PETERS + '<clause attrib="peercreationtime" type="date" compare="less">2003-02-328</clause>'
    assert refusal(document(f"<and>{inside}</and>")).startswith(
        "line 3: a date is written like 2026-01-02 or"
    )


def test_examples_of_wildcards():
    assert where(document(PETERS.replace("Peters", "P*"))) == Like(built_in("creator"), "James P*")
    assert where(clause("data-0?.xml", 'attrib="filename" type="string" compare="equal"')) == Like(
        Field("filename"), "data-0?.xml"
    )


# --- rule by rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", Op)
@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("int", "10", 10),
        ("int", " -3\n", -3),
        ("int", str(INT_MAX), INT_MAX),
        ("string", "10", "10"),
        ("string", " x ", " x "),
        ("string", "", ""),
        ("date", "2003", 1_041_379_200_000),
        ("date", " 2003-01-31 ", 1_043_971_200_000),
        ("date", "2003-01-31T01:00:00+01:00", 1_043_971_200_000),
    ],
)
def test_six_operators_on_three_types(op, kind, text, value):
    code = {"int": INT, "string": STRING, "date": DATE}[kind]
    found = where(clause(text, f'attrib="a" type="{kind}" compare="{COMPARES[op]}"'))
    assert found == Compare(Field("a"), code, op, value)


def test_type_and_compare_may_be_left_out():
    assert where(clause("x")) == Compare(Field("a"), STRING, Op.EQUAL, "x")


@pytest.mark.parametrize(
    "text, meant",
    [
        (r"\*", "*"),
        (r"\?", "?"),
        (r"\\", "\\"),
        (r"a\*b\?c\\d", r"a*b?c\d"),
        (r"\\\*", r"\*"),
    ],
)
def test_escapes_stand_for_the_characters_with_every_operator(text, meant):
    for op, compare in COMPARES.items():
        assert where(clause(text, f'attrib="a" compare="{compare}"')) == Compare(
            Field("a"), STRING, op, meant
        )


@pytest.mark.parametrize("text", [r"\x", "\\", r"\\\ ", r"*\n", r"a\&amp;"])
@pytest.mark.parametrize("compare", ["equal", "notequal", "less"])
def test_other_backslash_is_an_invalid_argument(text, compare):
    detail = refusal(clause(text, f'attrib="a" compare="{compare}"'), "invalid-argument")
    assert detail == "line 3: a backslash stands only before * ? or \\"


def test_unequal_with_wildcards_needs_the_attribute_as_without():
    found = where(clause("a*", 'attrib="a" compare="notequal"'))
    assert found == And((Like(Field("a"), "*"), Not(Like(Field("a"), "a*"))))


@pytest.mark.parametrize("compare", ["less", "greater", "lessorequal", "greaterorequal"])
def test_wildcards_have_no_order(compare):
    assert "wildcards are for equal and notequal" in refusal(clause("a*", f'attrib="a" compare="{compare}"'))


def test_reserved_names_are_a_records_own_facts_in_either_case():
    assert set(WINDOWS_NAMES.values()) == RESERVED_NAMES
    for own, name in WINDOWS_NAMES.items():
        for spelling in (name, name.upper()):
            kind = "date" if name.endswith("time") else "string"
            found = where(clause("2003", f'attrib="{spelling}" type="{kind}"'))
            assert isinstance(found, Compare)
            assert found.field == built_in(own)


def test_other_names_are_attributes_even_where_we_have_such_facts():
    assert where(clause("1", 'attrib="version" type="int"')) == Compare(Field("version"), INT, Op.EQUAL, 1)


def test_identifiers_may_be_guids():
    guid = "{0A0B0C0D-1111-2222-3333-444444444444}"
    by_id = where(clause(guid, 'attrib="peerrecordid"'))
    assert by_id == Compare(built_in("record_id"), STRING, Op.EQUAL, "0a0b0c0d111122223333444444444444")
    by_type = where(clause(guid[1:-1], 'attrib="peerrecordtype"'))
    assert by_type == Compare(
        built_in("record_type"), STRING, Op.EQUAL, "0a0b0c0d-1111-2222-3333-444444444444"
    )
    assert where(clause(guid)) == Compare(Field("a"), STRING, Op.EQUAL, guid)


def test_all_elements_may_stand_in_one_namespace():
    assert where('<peersearch xmlns="urn:a"><clause attrib="a">x</clause></peersearch>') == where(clause("x"))
    assert where('<p:peersearch xmlns:p="u"><p:clause attrib="a">x</p:clause></p:peersearch>')  # type: ignore[truthy-bool]
    refusal('<peersearch><clause xmlns="urn:a" attrib="a">x</clause></peersearch>')


def test_one_part_is_that_part():
    assert where(document(f"<and><or>{PETERS}</or></and>")) == BY_PETERS


def test_bytes_and_a_byte_order_mark_say_the_same():
    assert where(document(PETERS).encode()) == BY_PETERS
    assert where("\ufeff" + document(PETERS)) == BY_PETERS


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "line 1 is not XML (no element found)"),
        ("<peersearch>", "line 1 is not XML (no element found)"),
        ("a = 1", "line 1 is not XML (syntax error)"),
        ("<peersearch/>", "line 1: peersearch holds 0 elements, not one: put them into <and> or <or>"),
        (PETERS, "line 1: the outermost element is peersearch, which has no attributes"),
        ("<peersearch a='1'/>", "line 1: the outermost element is peersearch, which has no attributes"),
        (document("<and/>"), "line 3: and is empty"),
        (document("<or> \n </or>"), "line 4: or is empty"),
        (document("<not/>"), "line 3: the elements of a query are and, or and clause"),
        (document("<peersearch/>"), "line 3: the elements of a query are and, or and clause"),
        (document("<and x='1'/>"), "line 3: and has no attributes"),
        (document("<and>text</and>"), "line 3: text stands outside of the clauses"),
        (document("text"), "line 4: text stands outside of the clauses"),
        (clause("<and/>"), "line 3: an element stands inside a clause, where only the value does"),
        (clause("x", ""), "line 3: a clause has attrib, type and compare"),
        (clause("x", "attrib='a' case='1'"), "line 3: a clause has attrib, type and compare"),
        (clause("x", "attrib='a' type='text'"), "line 3: type is one of int, string, date"),
        (
            clause("x", "attrib='a' compare='like'"),
            "line 3: compare is one of equal, notequal, less, lessorequal, greater, greaterorequal",
        ),
        (clause("x", "attrib='a-b'"), "line 3: attrib is a name of 1 to 40 letters A-Z a-z and digits"),
        (clause("x", "attrib=''"), "line 3: attrib is a name of 1 to 40 letters A-Z a-z and digits"),
        (
            clause("x", f"attrib='{'a' * 41}'"),
            "line 3: attrib is a name of 1 to 40 letters A-Z a-z and digits",
        ),
        (clause("x", "attrib='peercreationtime'"), "line 3: peercreationtime is of the type date"),
        (clause("1", "attrib='peerrecordid' type='int'"), "line 3: peerrecordid is of the type string"),
        (clause("x", "attrib='a' type='int'"), f"line 3: an int is a number from {INT_MIN} to {INT_MAX}"),
        (clause("", "attrib='a' type='int'"), f"line 3: an int is a number from {INT_MIN} to {INT_MAX}"),
        (clause("1.5", "attrib='a' type='int'"), f"line 3: an int is a number from {INT_MIN} to {INT_MAX}"),
        (
            clause(str(INT_MAX + 1), "attrib='a' type='int'"),
            f"line 3: an int is a number from {INT_MIN} to {INT_MAX}",
        ),
        (
            clause("9" * 5000, "attrib='a' type='int'"),
            f"line 3: an int is a number from {INT_MIN} to {INT_MAX}",
        ),
        (
            clause("soon", "attrib='a' type='date'"),
            "line 3: a date is written like 2026-01-02 or 2026-01-02T10:30:00Z",
        ),
        ("<!DOCTYPE x []><peersearch/>", "it has a document type"),
        ("<?x y?><peersearch/>", "it holds a processing instruction"),
        (document("<!-- x -->" + PETERS), "it holds a comment"),
        (clause("<![CDATA[x]]>"), "it holds a CDATA section"),
        (document(PETERS).replace("utf-8", "utf-16"), "it is not XML 1.0 in UTF-8"),
        (clause("\x00"), "line 3 is not XML (not well-formed (invalid token))"),
        (clause("&#0;"), "line 3 is not XML (reference to invalid character number)"),
        (clause("&#xfffe;"), "line 3 is not XML (reference to invalid character number)"),
        (clause("\ufffe"), "line 3 is not XML (not well-formed (invalid token))"),
        (clause("\ud800"), "it is not UTF-8"),
        (b"\xff\xfe<\x00", "it is not UTF-8"),
    ],
)
def test_anything_else_is_refused(text, reason):
    assert refusal(text) == reason


# --- bounds -----------------------------------------------------------------------------------------------


def test_document_may_have_so_many_bytes():
    room = SEARCH_BYTES_MAX - len(clause(""))
    assert where(clause("x" * room)) == Compare(Field("a"), STRING, Op.EQUAL, "x" * room)
    assert refusal(clause("x" * (room + 1))) == f"it has more than {SEARCH_BYTES_MAX} bytes"


def test_document_may_be_so_deep():
    def nested(depth: int) -> str:
        return document("<and>" * depth + PETERS + "</and>" * depth)

    assert where(nested(SEARCH_DEPTH_MAX - 1)) == BY_PETERS
    assert "nested more than" in refusal(nested(SEARCH_DEPTH_MAX))


def test_document_may_compare_so_often():
    def many(terms: int) -> str:
        return document("<or>" + '<clause attrib="a"/>' * terms + "</or>")

    found = where(many(SEARCH_TERMS_MAX))
    assert isinstance(found, Or)
    assert len(found.parts) == SEARCH_TERMS_MAX
    assert "comparisons" in refusal(many(SEARCH_TERMS_MAX + 1))


def test_value_may_have_so_many_wildcards():
    assert where(clause("?" * SEARCH_WILDCARDS_MAX)) == Like(Field("a"), "?" * SEARCH_WILDCARDS_MAX)
    assert "wildcards" in refusal(clause("?" * (SEARCH_WILDCARDS_MAX + 1)))


# --- both languages, and any text -------------------------------------------------------------------------


@given(windows_predicates())
def test_both_languages_say_the_same(predicate):
    assert parse_peersearch(peersearch(predicate)) == Query(predicate)
    assert parse_expression(expression(predicate)) == Query(predicate)


PIECES = (
    "<peersearch>", "</peersearch>", "<and>", "</and>", "<or>", "</or>", "<clause attrib='a'>", "</clause>",
    "<clause attrib='b' type='int' compare='less'>", "<clause attrib='peercreationtime' type='date'>", "é",
    "<clause>", "7", "2026-01-02", "a*", r"\*", r"\x", "\\", " ", "&amp;", "&x;", "<", ">", "<!--", "-->",
    "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<!DOCTYPE x>", "<x xmlns='u'/>", "\0", "\ud800", "\ufeff",
    "\ufffe",
)  # fmt: skip


def check_read_or_refused(text: str | bytes) -> None:
    try:
        parse_peersearch(text)
    except RuleError as error:
        found = error
    else:
        return
    assert found.code in ("invalid-search", "invalid-argument")
    assert found.detail.isprintable()


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_a_query_or_refused(text):
    check_read_or_refused(text)


@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_any_pieces_are_a_query_or_refused(pieces):
    check_read_or_refused("".join(pieces))
    check_read_or_refused(document("".join(pieces)))
    check_read_or_refused(clause("".join(pieces)))


@given(windows_predicates().map(peersearch), st.data())
def test_any_cut_of_a_query_is_a_query_or_refused(text, data):
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    check_read_or_refused(text[:begin] + text[end:])
