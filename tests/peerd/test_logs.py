"""A log line is one line, has the agreed fields only, and holds no secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, strategies as st

from peerd import logs
from peerd.logs import FIELDS, JsonFormatter, TextFormatter, clean, configure, short, shown

RECOVERY_KEY = "-".join(["ABCD"] * 14)
KEY_FILE = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
INVITATION = '<PEERINVITATION VERSION="1.0"><GMC>secret</GMC></PEERINVITATION>'
SECRETS = [RECOVERY_KEY, RECOVERY_KEY.replace("-", " ").lower(), KEY_FILE, INVITATION, INVITATION[:40]]
ANY_TEXT = st.text(alphabet=st.characters(codec=None))


@pytest.fixture
def logged() -> Iterator[Callable[[str], io.StringIO]]:
    """Configures logging in a form, and gives it back to pytest afterwards."""
    root, room = logging.getLogger(), logging.getLogger("peerd")
    before = (list(root.handlers), root.level, room.level)

    def start(form: str, **environment: str) -> io.StringIO:
        stream = io.StringIO()
        configure("info", form, stream, environment)
        return stream

    yield start
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    room.setLevel(before[2])


def record_of(message: str, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("peerd.test", logging.INFO, "here.py", 1, message, None, exc_info)
    record.__dict__.update(extra)
    record.created = 1_800_000_000.25
    return record


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_text_shows_time_level_room_message_and_fields_in_the_agreed_order() -> None:
    line = TextFormatter(with_time=True).format(
        record_of("link up", ms=12, peer=bytes(range(32)), group="a b")
    )
    assert line == '2027-01-15T08:00:00.250Z info    peerd.test link up group="a b" peer=0001020304 ms=12'


def test_json_is_one_object_with_numbers_as_numbers() -> None:
    line = JsonFormatter().format(record_of("link up", ms=12, peer=bytes(32)))
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "logger": "peerd.test",
        "message": "link up",
        "peer": "0000000000",
        "ms": 12,
    }


@given(message=ANY_TEXT, value=ANY_TEXT)
@pytest.mark.parametrize("formatter", [TextFormatter(with_time=True), JsonFormatter()])
def test_every_event_is_one_line(formatter: logging.Formatter, message: str, value: str) -> None:
    line = formatter.format(record_of("%s", reason=value, error=raised(message)))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("formatter", [TextFormatter(with_time=True), JsonFormatter()])
def test_secrets_are_hidden_wherever_they_stand(formatter: logging.Formatter, secret: str) -> None:
    line = formatter.format(record_of(f"got {secret}", detail=f"({secret})", error=raised(secret)))
    assert "[hidden]" in line
    for telling in ("ABCD-ABCD", "abcd abcd", "MC4CAQ", "GMC"):
        assert telling not in line


@given(st.binary(min_size=16, max_size=64))
def test_bytes_never_appear_whole(value: bytes) -> None:
    assert value.hex() not in TextFormatter(with_time=False).format(record_of("x", detail=value))
    assert shown(value) == short(value) == value.hex()[:10]


def test_a_field_that_is_not_agreed_is_not_shown() -> None:
    assert "seed" not in TextFormatter(with_time=False).format(record_of("x", seed="1"))


def test_no_field_collides_with_what_logging_itself_stores() -> None:
    logger = logging.Logger("peerd.test")  # noqa: LOG001
    for name in FIELDS:
        logger.makeRecord("n", logging.INFO, "f", 1, "m", (), None, extra={name: "value"})


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 10_000)) == logs.VALUE_CHARACTERS_MAX + 1


def test_clean_keeps_what_it_is_told_to() -> None:
    assert clean("a\nb\tc", keep="\n") == "a\nb\\x09c"


def test_the_innermost_frame_of_an_error_comes_first() -> None:
    line = TextFormatter(with_time=False).format(record_of("failed", error=raised("why")))
    assert 'error="ValueError: why"' in line
    assert 'at="test_logs.py:' in line


def test_the_journal_gets_no_second_time_stamp(logged: Callable[..., io.StringIO]) -> None:
    stream = logged("auto", JOURNAL_STREAM="8:1")
    logging.getLogger("peerd.gossip").info("link up")
    assert stream.getvalue() == "info    peerd.gossip link up\n"


def test_levels_hold_for_peerd_and_others_are_quieter(logged: Callable[..., io.StringIO]) -> None:
    stream = logged("json")
    logging.getLogger("peerd.gossip").debug("unseen")
    logging.getLogger("h11").info("unseen")
    logging.getLogger("peerd.gossip").info("seen")
    logging.getLogger("h11").warning("seen")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["seen", "seen"]
