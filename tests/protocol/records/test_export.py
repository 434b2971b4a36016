"""An export is read back item by item, and what is not one, whole, is known for it at the right place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext

import pytest
from hypothesis import given, strategies as st

from protocol.codec import encode
from protocol.errors import RuleError
from protocol.limits import BODY_BYTES_MAX, EXPORT_CHUNK_BYTES_MAX, HEADER_BYTES_MAX
from protocol.records.export import MAGIC, ExportReader, ExportWriter, Item, Kind

GID = bytes(range(32))

items = st.lists(st.builds(Item, st.sampled_from(Kind), st.binary(max_size=60)), max_size=8)


def written(told: list[Item], gid: bytes = GID) -> bytes:
    writer = ExportWriter(gid)
    return b"".join([writer.begin(), *(writer.item(*item) for item in told), writer.end()])


def read(data: bytes, sizes: Sequence[int] = ()) -> tuple[list[Item], RuleError | None]:
    """What comes out of bytes handed over in parts of these sizes and a last one, before they are refused."""
    reader, found = ExportReader(GID), []
    try:
        for size in [*sizes, len(data)]:
            part, data = data[:size], data[size:]
            for item in reader.feed(part):
                found.append(item)  # noqa: PERF402  one by one: the next one may be refused
        reader.finish()
    except RuleError as error:
        return found, error
    return found, None


def chunk_of(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content + hashlib.sha256(content).digest()[:8]


def code(error: RuleError | None) -> str | None:
    return None if error is None else error.code


@given(items, st.lists(st.integers(0, 50), max_size=30))
def test_what_was_written_is_read_in_order_in_parts_of_any_size(told, sizes):
    assert read(written(told), sizes) == (told, None)


@given(items, st.data())
def test_a_file_that_breaks_off_gives_what_is_whole_and_is_refused(told, data):
    whole = written(told)
    found, error = read(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert found == told[: len(found)]
    assert code(error) == "invalid-database"


@given(items, st.data())
def test_a_changed_byte_is_found_and_nothing_behind_it_is_given(told, data):
    whole = bytearray(written(told))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    found, error = read(bytes(whole))
    assert found == told[: len(found)]
    assert code(error) == "invalid-database"
    writer = ExportWriter(GID)
    before = len(writer.begin()) + sum(len(writer.item(*item)) for item in told[: len(found)])
    assert before <= place or not found
    assert f"after {len(found)} items" in str(error)


@given(items, st.data())
def test_items_left_out_doubled_or_put_elsewhere_are_noticed_at_the_end(told, data):
    writer = ExportWriter(GID)
    head = writer.begin()
    chunks = [writer.item(*item) for item in told]
    order = data.draw(st.permutations(range(len(told))).flatmap(lambda places: st.sampled_from(_cut(places))))
    _, error = read(b"".join([head, *(chunks[place] for place in order), writer.end()]))
    same = [chunks[place] for place in order] == chunks
    assert code(error) == (None if same else "invalid-database")


def _cut(places):
    return [places, places[:-1], [*places, *places[:1]]]


def test_what_follows_the_end_is_refused():
    told = [Item(Kind.RECORD, b"r")]
    assert code(read(written(told) + b"\0")[1]) == "invalid-database"
    assert code(read(written(told) + written(told))[1]) == "invalid-database"
    assert code(read(written(told) + b"\0", [len(written(told))])[1]) == "invalid-database"


def test_the_largest_version_fits_and_a_length_beyond_is_refused_before_it_is_read():
    large = Item(Kind.RECORD, bytes(BODY_BYTES_MAX + HEADER_BYTES_MAX + 16))
    assert read(written([large])) == ([large], None)
    for length, refused in ((EXPORT_CHUNK_BYTES_MAX, False), (EXPORT_CHUNK_BYTES_MAX + 1, True)):
        reader = ExportReader(GID)
        head = ExportWriter(GID).begin() + length.to_bytes(4, "big")
        with pytest.raises(RuleError, match="impossible") if refused else nullcontext():
            list(reader.feed(head))


def test_an_export_of_another_group_is_refused_before_any_item():
    found, error = read(written([Item(Kind.RECORD, b"r")], gid=bytes(32)))
    assert (found, code(error)) == ([], "wrong-group")


def test_a_newer_format_is_refused_by_that_word():
    assert code(read(MAGIC + chunk_of(encode({"v": 2, "gid": GID})))[1]) == "unsupported-version"


@pytest.mark.parametrize(
    "content",
    [
        encode({"v": True, "gid": GID}),
        encode({"v": 1, "gid": b""}),
        encode({"gid": GID}),
        encode([1, b""]),
        b"\xc1",
        b"",
    ],
)
def test_a_head_that_says_nothing_is_refused(content):
    found, error = read(MAGIC + chunk_of(content))
    assert (found, code(error)) == ([], "invalid-database")
    assert "breaks off" not in str(error)


@pytest.mark.parametrize(
    "value", [[3, b""], [True, b""], [1, ""], [1], [], 7, [0, 0, 0], [0, 0, 0, bytes(32)]]
)
def test_a_chunk_of_no_known_kind_is_refused(value):
    found, error = read(ExportWriter(GID).begin() + chunk_of(encode(value)))
    assert (found, code(error)) == ([], "invalid-database")
    assert "breaks off" not in str(error)


def test_counts_that_are_not_those_of_the_items_are_refused():
    before = ExportWriter(GID).begin()
    for counts, expected in (([0, 0], None), ([0, 1], "invalid-database"), ([1, 0], "invalid-database")):
        end = chunk_of(encode([0, *counts, hashlib.sha256(before).digest()]))
        assert code(read(before + end)[1]) == expected


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_anything_but_items_or_a_refusal(data, begun):
    found, error = read((ExportWriter(GID).begin() if begun else b"") + data)
    assert not found or begun
    assert code(error) in ("invalid-database", "wrong-group", "unsupported-version", None)


def test_no_more_than_one_chunk_is_held_back():
    reader = ExportReader(GID)
    writer = ExportWriter(GID)
    list(reader.feed(writer.begin()))
    for _ in range(100):
        list(reader.feed(writer.item(Kind.RECORD, bytes(50_000))))
        assert len(reader._waiting) == 0
