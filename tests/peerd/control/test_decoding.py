"""What is no request is refused with a reason, whatever it is, and one request has one meaning."""

from __future__ import annotations

import json
import tracemalloc
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given, strategies as st

from peerd.control import schema
from peerd.control.decoding import decode_body, decode_query, decode_segment, field_names
from peerd.control.limits import BODY_BYTES_MAX, JSON_PARTS_MAX, QUERY_PARAMETERS_MAX
from peerd.errors import BadRequest

MEMORY_BYTES_MAX = 16 * 1024 * 1024  # promise P31
REQUESTS = [
    kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, schema.Request)
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
issues = st.builds(
    schema.CredentialIssue,
    subject=st.none() | texts,
    role=st.none() | texts,
    valid_s=st.none() | st.integers(0, 10**9),
    store=st.booleans(),
    not_after=st.none() | st.integers(0, 10**10).map(schema.time_at),
)


@given(issues)
def test_what_the_client_writes_is_read_back(issue):
    assert decode_body(msgspec.json.encode(issue), schema.CredentialIssue) == issue


@given(st.lists(issues, min_size=1, max_size=3))
def test_a_batch_is_read_back(wishes):
    batch = schema.CredentialBatch(issues=wishes)
    assert decode_body(msgspec.json.encode(batch), schema.CredentialBatch) == batch


def outcome(decode, *arguments):
    """What a decoder returns or refuses with; anything else that it raises fails the test."""
    try:
        return decode(*arguments)
    except BadRequest as error:
        return error


@given(st.sampled_from(REQUESTS), st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_make_anything_but_a_request_or_a_refusal(kind, content):
    assert isinstance(outcome(decode_body, content, kind), (kind, BadRequest))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["subject", "issues", "valid_s", "not_after", "x"]), json_values))
def test_no_json_makes_anything_but_a_request_or_a_refusal(value):
    for kind in (schema.CredentialIssue, schema.CredentialBatch):
        assert isinstance(outcome(decode_body, json.dumps(value).encode(), kind), (kind, BadRequest))


@given(st.text(max_size=60))
def test_no_query_makes_anything_but_a_request_or_a_refusal(text):
    for kind in (schema.EventsQuery, schema.CredentialsQuery):
        assert isinstance(outcome(decode_query, text, kind), (kind, BadRequest))


@given(texts, st.integers(1, 1000))
def test_a_query_is_read_back(subject, limit):
    query = decode_query(urlencode({"subject": subject, "limit": limit}), schema.CredentialsQuery)
    assert query == schema.CredentialsQuery(subject=subject, limit=limit)


def test_no_body_is_an_object_without_fields():
    assert decode_body(b"", schema.Empty) == schema.Empty()
    with pytest.raises(BadRequest, match="classifier"):
        decode_body(b"", schema.GroupCreate)


@pytest.mark.parametrize(
    "body",
    [
        b'{"subject":"a","subject":"a"}',
        b'{"issues":[{"store":true,"store":false}]}',
        b'{"x":{"a":1,"b":{"c":1,"c":2}}}',
        b'{"subject":"a","\\u0073ubject":"b"}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body):
    with pytest.raises(BadRequest, match="given twice"):
        decode_body(body, schema.CredentialBatch)


@pytest.mark.parametrize("number", ["7", "7.0", "7e0", "70e-1", "0.7E1"])
def test_a_whole_number_is_an_integer_however_it_is_written(number):
    body = f'{{"valid_s":{number}}}'.encode()
    assert decode_body(body, schema.CredentialIssue).valid_s == 7
    assert decode_query(f"limit={number}", schema.Page).limit == 7


@pytest.mark.parametrize(
    "number",
    ["7.5", "NaN", "Infinity", "-Infinity", "1e999", "1e30", "-1", '"7"', "true", "9" * 5000, "9" * 30],
)
def test_what_is_no_whole_number_in_range_is_refused(number):
    with pytest.raises(BadRequest):
        decode_body(f'{{"valid_s":{number}}}'.encode(), schema.CredentialIssue)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b"{",
        b"{}{}",
        b"{'subject':'a'}",
        b'{"subject":"a",}',
        b"\xef\xbb\xbf{}",
        '{"subject":"a"}'.encode("utf-16"),
        b'{"subject":"\xff"}',
        b'{"subject":"\\ud800"}',
        b'{"subject":"\x00"}',
        b'{"subject":7}',
        b'{"store":1}',
        b'{"not_after":"yesterday"}',
        b'{"not_after":"2026-02-30T00:00:00Z"}',
        b'{"not_after":7}',
        b"[" * 10_000,
        b'{"subject":' * 5_000,
    ],
)
def test_what_is_no_such_object_is_refused(body):
    with pytest.raises(BadRequest):
        decode_body(body, schema.CredentialIssue)


@pytest.mark.parametrize(
    "body,hint",
    [
        (b'{"friendlyname":"x"}', "did you mean friendly_name?"),
        (b'{"issues":[{"roles":["admin"]}]}', "did you mean role?"),
        (b'{"frobnicate":1}', "known: issues"),
    ],
)
def test_an_unknown_field_comes_with_what_was_probably_meant(body, hint):
    with pytest.raises(BadRequest) as caught:
        decode_body(body, schema.CredentialBatch)
    assert caught.value.hint.startswith(hint)


def test_an_unknown_parameter_comes_with_what_was_probably_meant():
    with pytest.raises(BadRequest) as caught:
        decode_query("sinse=7", schema.EventsQuery)
    assert caught.value.hint == "did you mean since?"


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=2",
        "limit",
        "limit=",
        "&",
        "=",
        "cursor=%ff",
        "limit=1;2",
        "limit=0",
        "limit=1001",
        "&".join(f"a{number}=1" for number in range(QUERY_PARAMETERS_MAX + 1)),
    ],
)
def test_a_query_that_could_be_read_two_ways_is_refused(query):
    with pytest.raises(BadRequest):
        decode_query(query, schema.Page)


def test_a_long_name_is_shown_cut():
    with pytest.raises(BadRequest) as caught:
        decode_body(json.dumps({"x" * 100_000: 1}).encode(), schema.Empty)
    assert len(caught.value.detail) < 200


def test_the_fields_of_inner_requests_are_known():
    assert "not_before" in field_names(schema.CredentialBatch)


@given(texts)
def test_a_segment_is_read_back(text):
    assert decode_segment("".join(f"%{byte:02x}" for byte in text.encode())) == text


def test_a_segment_that_is_no_utf8_is_refused():
    with pytest.raises(BadRequest):
        decode_segment("%ff")


@pytest.mark.parametrize(
    "part,end",
    [("[],", "[]"), ("{},", "{}"), ("1,", "1"), ('"a",', '""'), ('{"a":', "1"), ("[", ""), ('"\\u00e9', "")],
)
def test_a_hostile_body_costs_little_memory(part, end):
    body = ('{"x":[' + part * (BODY_BYTES_MAX // len(part)) + end + "]}").encode()
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest):
            decode_body(body, schema.CredentialIssue)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_the_largest_batch_is_far_from_the_limit_of_parts():
    wish = schema.CredentialIssue(
        subject="a" * 190,
        document="x" * 3000,
        role="member",
        friendly_name="f",
        not_before=schema.time_at(0),
        not_after=schema.time_at(1),
        valid_s=1,
        store=True,
        invitation=True,
        as_root=True,
        issuer="i",
        issuer_friendly_name="j",
    )
    content = msgspec.json.encode(schema.CredentialBatch(issues=[wish] * 256))
    assert len(content) < BODY_BYTES_MAX
    assert content.count(b",") < JSON_PARTS_MAX / 4
    assert len(decode_body(content, schema.CredentialBatch).issues) == 256
