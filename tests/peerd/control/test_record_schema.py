"""Records over the socket: what is written comes back, whole and of the same type."""

from __future__ import annotations

import base64
import tracemalloc
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from peerd.control import limits, record_schema
from peerd.control.client import ApiError, Client, DaemonNotRunning
from peerd.control.decoding import decode_body, decode_query
from peerd.control.record_schema import DateValue, RecordAdd, RecordChange, RecordSearch, WriteQuery
from peerd.errors import BadRequest
from protocol import limits as protocol_limits
from protocol.records.attributes import INT_MAX, INT_MIN
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN
from tests.peerd.control.served import served
from tests.peerd.control.test_client import make_group


@pytest.fixture
def running(tmp_path):
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def client(running):
    with running.client() as client:
        make_group(client)
        yield client


def add(client: Client, **wish) -> record_schema.Record:
    return client.add_record("family", RecordAdd(**{"record_type": "note"} | wish))


# --- shapes -------------------------------------------------------------------------------------------------


def test_the_bounds_shared_with_the_protocol_are_the_same():
    assert protocol_limits.BODY_BYTES_MAX * 4 / 3 + 64 * 1024 < limits.BODY_BYTES_MAX
    assert protocol_limits.LINKS_MAX <= limits.REPLICATED_NEIGHBORS_MAX
    assert protocol_limits.ATTRIBUTES_BYTES_MAX / 4 <= limits.ATTRIBUTE_NAMES_MAX
    assert limits.REPLICATED_S_DEFAULT <= limits.REPLICATED_S_MAX


dates = st.integers(DATE_MS_MIN, DATE_MS_MAX).map(
    lambda ms: DateValue(date=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
)
values = (
    st.integers(INT_MIN, INT_MAX) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | dates
)


@given(st.dictionaries(st.text("abcXYZ09", min_size=1), values | st.lists(values, max_size=4), max_size=4))
def test_attributes_are_read_back_as_they_were_written(attributes):
    wish = RecordAdd(record_type="note", attributes=attributes)
    assert decode_body(msgspec.json.encode(wish), RecordAdd) == wish
    change = RecordChange(attributes=attributes)
    assert decode_body(msgspec.json.encode(change), RecordChange) == change


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "null",
        "1.5",
        str(INT_MAX + 1),
        '{"date":"2030-01-01"}',
        '{"date":"x"}',
        "{}",
        "[[1]]",
        "[null]",
        '{"date":"2030-01-01T00:00:00Z","x":1}',
    ],
)
def test_what_is_no_value_of_an_attribute_is_refused(value):
    with pytest.raises(BadRequest):
        decode_body(b'{"record_type":"note","attributes":{"a":%s}}' % value.encode(), RecordAdd)


def test_nothing_given_changes_nothing_and_an_empty_value_is_one():
    nothing = decode_body(b"{}", RecordChange)
    assert nothing.attributes is nothing.data is msgspec.UNSET
    emptied = decode_body(b'{"attributes":{},"data":""}', RecordChange)
    assert (emptied.attributes, emptied.data) == ({}, "")


@pytest.mark.parametrize("query", ["wait_replicated=-1", "wait_replicated=65", "timeout_s=3601", "if=1"])
def test_a_wait_has_bounds(query):
    with pytest.raises(BadRequest):
        decode_query(query, WriteQuery)


# --- over the socket ----------------------------------------------------------------------------------------


def test_data_come_back_unchanged_however_large(client):
    for data in (b"", bytes(range(256)), b"\xff" * protocol_limits.BODY_BYTES_MAX):
        record = add(client, data=_base64url(data))
        assert record.size == len(data)
        assert client.record_data("family", record.record_id) == data
        shown = client.record("family", record.record_id).data
        assert shown == (_base64url(data) if len(data) <= limits.RECORD_DATA_SHOWN_BYTES_MAX else None)
        assert client.record("family", record.record_id, data=True).data == _base64url(data)
        assert client.record("family", record.record_id, data=False).data is None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("length", [protocol_limits.BODY_BYTES_MAX + 1, limits.BODY_BYTES_MAX + 1])
def test_larger_data_are_refused_by_rule_or_by_size(client, length):
    record = add(client)
    with pytest.raises(ApiError) as caught:
        client.set_record_data("family", record.record_id, b"x" * length)
    assert caught.value.status == 413


def exchanged(running, head: str, content: bytes = b"") -> bytes:
    length = f"Content-Length: {len(content)}\r\n" if content else ""
    return running.exchange(f"{head}\r\nHost: peerd\r\n{length}Connection: close\r\n\r\n".encode() + content)


def test_data_are_raw_octets_with_the_version_as_their_tag(running, client):
    record = add(client, data="AP8K")
    path = f"/v1/groups/family/records/{record.record_id}/data"
    answer = exchanged(running, f"GET {path} HTTP/1.1")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"\x00\xff\n"
    assert b"Content-Type: application/octet-stream" in head
    assert f'ETag: "{record.version_id}"'.encode() in head


def test_curl_uploads_a_file_if_nobody_has_changed_it_meanwhile(running, client):
    record = add(client, data="AP8K")
    path = f"/v1/groups/family/records/{record.record_id}/data"
    tagged = f'PUT {path} HTTP/1.1\r\nIf-Match: "{record.version_id}"'
    assert exchanged(running, tagged, b"new").startswith(b"HTTP/1.1 200")
    assert exchanged(running, tagged, b"newer").startswith(b"HTTP/1.1 409")
    assert client.record_data("family", record.record_id) == b"new"
    assert exchanged(running, f"PUT {path} HTTP/1.1").startswith(b"HTTP/1.1 200")
    assert client.record_data("family", record.record_id) == b""
    typed = f"PUT {path} HTTP/1.1\r\nContent-Type: application/octet-stream"
    assert exchanged(running, typed, b"x").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "line", ["Content-Type: application/json", "Content-Type: text/plain", "Content-Encoding: gzip"]
)
def test_octets_that_are_said_to_be_something_else_are_refused(running, client, line):
    record = add(client)
    head = f"PUT /v1/groups/family/records/{record.record_id}/data HTTP/1.1\r\n{line}"
    assert exchanged(running, head, b"x").startswith(b"HTTP/1.1 415")


def test_a_write_depends_on_a_version_by_field_too(client):
    record = add(client)
    changed = client.change_record("family", record.record_id, RecordChange(if_version=record.version_id))
    for write in (
        lambda query: client.set_record_data("family", record.record_id, b"x", query),
        lambda query: client.delete_record("family", record.record_id, query),
    ):
        with pytest.raises(ApiError) as caught:
            write(WriteQuery(if_version=record.version_id))
        assert (caught.value.slug, caught.value.status) == ("version-conflict", 409)
    assert client.delete_record(
        "family", changed.record_id, WriteQuery(if_version=changed.version_id)
    ).deleted


def test_a_write_that_waits_says_how_many_hold_it_or_that_too_few_do(client):
    assert add(client).replicated is None
    assert add(client, wait_replicated=1).replicated == 1
    with pytest.raises(ApiError) as caught:
        add(client, wait_replicated=2, timeout_s=0)
    assert (caught.value.slug, caught.value.status) == ("not-replicated", 504)
    assert len(client.records("family", record_schema.RecordsQuery()).records) == 3


def test_records_are_listed_page_by_page(client):
    for number in range(7):
        add(client, record_type=f"t{number % 2}")
    assert [one.record_type for one in client.all_records("family", "t1")] == ["t1"] * 3
    first = client.search_records("family", RecordSearch(query="all", limit=5))
    rest = client.search_records("family", RecordSearch(query="all", limit=5, cursor=first.next))
    assert (len(first.records), len(rest.records), rest.next) == (5, 2, None)
    with pytest.raises(ApiError, match="no search"):
        client.search_records("family", RecordSearch(query="title ="))


# --- export and import --------------------------------------------------------------------------------------


def test_an_export_comes_in_parts_and_an_import_takes_them(client):
    parts = list(client.export_group("family"))
    assert b"".join(parts).startswith(b"export of ")
    imported = client.import_group("family", parts)
    assert imported.records == len(parts)
    assert client.api().pid == 1


def test_a_large_import_is_not_held_in_memory(running, client):
    part, count = b"x" * 65_536, 256

    def taken(*_):
        return None

    running.operations.imported = type("Counted", (list,), {"append": taken})()
    tracemalloc.start()
    try:
        client.import_group("family", (part for _ in range(count)))
        assert tracemalloc.get_traced_memory()[1] < len(part) * count / 4
    finally:
        tracemalloc.stop()


def test_an_export_that_fails_is_not_taken_for_complete(running, client):
    running.operations.fail_with = RuntimeError("the disk")
    with pytest.raises(DaemonNotRunning):
        list(client.export_group("family"))


def test_an_import_that_is_refused_is_told_why_although_more_was_to_come(client):
    with pytest.raises(ApiError) as caught:
        client.import_group("family", (b"damaged" * 10_000 for _ in range(100)))
    assert caught.value.slug == "invalid-database"
    with pytest.raises(ApiError) as caught:
        client.import_group("family", [b"export of a.other"])
    assert caught.value.slug == "wrong-group"
    assert client.api().pid == 1


def test_what_an_import_reads_from_may_fail(client):
    def parts():
        yield b"x"
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        client.import_group("family", parts())
    assert client.api().pid == 1
