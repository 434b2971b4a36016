"""The types of the control API keep their promises: strict requests, open replies, one form for times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, strategies as st

from peerd.control import authority_schema, limits, record_schema, root_schema, schema
from peerd.sealed_keys import PASSPHRASE_CHARACTERS_MAX
from protocol import limits as protocol_limits

STRUCTS = [
    kind
    for module in (schema, record_schema, authority_schema, root_schema)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
]
REQUESTS = [kind for kind in STRUCTS if issubclass(kind, schema.Request)]
REPLIES = [kind for kind in STRUCTS if issubclass(kind, schema.Reply)]


def test_the_bounds_shared_with_the_protocol_are_the_same():
    assert limits.ADDRESSES_MAX == protocol_limits.INVITATION_ADDRESSES_MAX
    assert limits.SECONDS_MAX == protocol_limits.END_OF_TIME_S
    assert limits.ROOT_KEYS_MAX == protocol_limits.ROOT_KEYS_MAX
    assert limits.ROOT_FILE_CHARACTERS_MAX >= protocol_limits.ROOT_FILE_BYTES_MAX * 4 / 3
    assert limits.PASSPHRASE_CHARACTERS_MAX == PASSPHRASE_CHARACTERS_MAX
    assert limits.BODY_BYTES_MAX > 2 * protocol_limits.DOCUMENT_BYTES_MAX


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_type_can_be_said_in_json_is_frozen_and_explains_itself(kind):
    msgspec.json.Decoder(kind)
    assert msgspec.json.schema(kind)
    assert kind.__struct_config__.frozen
    assert kind.__doc__


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_requests_refuse_what_they_do_not_know(kind):
    assert kind.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("kind", REPLIES, ids=lambda kind: kind.__name__)
def test_replies_may_grow(kind):
    assert not kind.__struct_config__.forbid_unknown_fields
    assert not kind.__struct_config__.omit_defaults


def test_an_invitation_is_asked_for_in_the_words_of_issuing():
    issue = {field.name: field.type for field in msgspec.structs.fields(schema.CredentialIssue)}
    for field in msgspec.structs.fields(schema.InvitationCreate):
        assert issue[field.name] == field.type


@given(st.integers(min_value=-(2**40), max_value=2**62))
def test_every_number_of_seconds_has_a_time(utc_s):
    time = schema.time_at(utc_s)
    assert schema.seconds_at(time) == max(0, min(utc_s, protocol_limits.END_OF_TIME_S))
    assert msgspec.json.encode(time).endswith(b'Z"')


@given(st.integers(min_value=0, max_value=2**48 - 1))
def test_every_act_has_a_time(utc_ms):
    assert schema.time_at_ms(utc_ms).year <= 9999


@given(st.datetimes(timezones=st.just(UTC)), st.integers(min_value=-1439, max_value=1439))
def test_the_offset_of_a_time_changes_nothing(time, minutes):
    zone = timezone(timedelta(minutes=minutes))
    written = time.replace(tzinfo=None).isoformat() + zone.tzname(None).removeprefix("UTC")
    parsed = msgspec.convert(written if minutes else written + "Z", schema.Time)
    assert schema.seconds_at(parsed) == schema.seconds_at(time) - 60 * minutes


def test_a_time_without_an_offset_is_refused():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("2026-01-01T00:00:00", schema.Time)


def test_what_never_ends_has_no_end():
    assert schema.end_at(protocol_limits.END_OF_TIME_S) is None
    assert schema.end_at(protocol_limits.END_OF_TIME_S - 1) == datetime(9999, 12, 31, 23, 59, 58, tzinfo=UTC)


def test_a_problem_says_type_where_python_says_slug():
    problem = schema.Problem(slug="not-found", title="T", status=404, detail="d")
    assert msgspec.to_builtins(problem)["type"] == "not-found"


def test_defaults_are_not_sent():
    assert msgspec.json.encode(schema.CredentialIssue(subject="x")) == b'{"subject":"x"}'
    assert msgspec.json.encode(schema.PropertiesChange(comment="")) == b'{"comment":""}'
