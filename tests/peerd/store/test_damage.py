"""Damage is noticed, named, and never handed on: changed bits, missing pages, files that are cut."""

from __future__ import annotations

import random
import re

import pytest

from peerd.errors import StoreError
from peerd.store.group_store import GroupStore
from protocol.records.record import body_hash_of
from tests.contract.act_set import id_of, state_of
from tests.contract.record_model import KEPT, version
from tests.peerd.store.disks import copy_of_the_living, disk

PAGE_BYTES = 4096
NAMES = tuple(f"element-{number}" for number in range(40))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "group.db"
    store = GroupStore(path)
    store.begin()
    for name in NAMES:
        store.put(id_of(name), name.encode() * 40)
    store.set_setting("chain", b"c" * 16)
    store.note("act", 1, b"\x80")
    store.commit()
    store.close()
    return path


def _read(path):
    """All that a store gives, None where it refuses; anything but its own error is a mistake."""
    with disk() as disk_:
        try:
            store = GroupStore(path, vfs=disk_.name)
        except StoreError:
            return None
        try:
            answers = [store.get(id_of(name)) for name in NAMES]
            return answers, state_of(store)
        except StoreError:
            return None
        finally:
            store.close()


def _agree(found, sound):
    """Whether nothing was given that was not stored: an id may have become unknown, never other bytes."""
    if found is None:
        return True
    return all(mine in (None, theirs) for mine, theirs in zip(found[0], sound[0], strict=True)) and (
        found[1]["load"] == sound[1]["load"]
        and found[1]["settings"] == sound[1]["settings"]
        and found[1]["events"] == sound[1]["events"]
    )


def test_changed_bits_in_any_page_never_change_an_answer(path):
    sound = _read(path)
    data = path.read_bytes()
    chooser = random.Random(7)
    refused = 0
    for page in range(len(data) // PAGE_BYTES):
        for _ in range(8):
            at = page * PAGE_BYTES + chooser.randrange(PAGE_BYTES)
            changed = bytearray(data)
            changed[at] ^= 1 << chooser.randrange(8)
            path.write_bytes(changed)
            found = _read(path)
            assert _agree(found, sound), (page, at)
            refused += found is None
    assert refused > len(data) // PAGE_BYTES


def test_changed_bits_in_any_page_never_change_a_record(tmp_path):
    path = tmp_path / "group.db"
    store = GroupStore(path)
    headers = [version(number, number, durable=number % 2 == 0, body=b"%d" % number) for number in range(9)]
    store.begin()
    for number, header in enumerate(headers):
        store.put_version(header, KEPT, 0)
        store.put_body(body_hash_of(b"%d" % number), b"%d" % number)
        store.show(header)
    store.commit()
    loaded = list(store.load_versions())
    store.close()
    data = path.read_bytes()
    chooser = random.Random(7)
    refused = 0
    with disk() as disk_:
        for at in (chooser.randrange(len(data)) for _ in range(len(data) // 500)):
            changed = bytearray(data)
            changed[at] ^= 1 << chooser.randrange(8)
            path.write_bytes(changed)
            try:
                found = GroupStore(path, vfs=disk_.name)
            except StoreError:
                refused += 1
                continue
            try:
                assert list(found.load_versions()) == loaded
                for header in headers:
                    assert found.header(header.id) in (None, header.raw)
                    body = None if header.body_hash is None else found.body(header.body_hash)
                    assert body is None or body_hash_of(body) == header.body_hash
                    assert found.shown(header.record_id) in (None, header.id)
            except StoreError:
                refused += 1
            finally:
                found.close()
    assert refused > 10


def test_page_of_zeros_is_refused(path):
    data = path.read_bytes()
    for page in range(len(data) // PAGE_BYTES):
        start = page * PAGE_BYTES
        path.write_bytes(data[:start] + bytes(PAGE_BYTES) + data[start + PAGE_BYTES :])
        assert _read(path) is None, page


def test_file_that_was_cut_is_refused(path):
    data = path.read_bytes()
    for length in (0, 1, 99, 100, 512, *range(PAGE_BYTES, len(data), PAGE_BYTES), len(data) - 1):
        path.write_bytes(data[:length])
        assert _read(path) is None, length


def test_damaged_log_gives_a_whole_earlier_state_or_is_refused(path, tmp_path):
    store = GroupStore(path)
    states = [state_of(store)]
    for name in ("a", "b", "c"):
        store.begin()
        store.put(id_of(name), b"x")
        store.note("act", 2, b"\x80")
        store.commit()
        states.append(state_of(store))
    living = copy_of_the_living(path, tmp_path / "living")
    store.close()
    log = living.with_name("group.db-wal")
    data, log_data = living.read_bytes(), log.read_bytes()
    chooser = random.Random(7)
    for at in range(0, len(log_data), 311):
        changed = bytearray(log_data)
        changed[at] ^= 1 << chooser.randrange(8)
        living.write_bytes(data)
        log.write_bytes(changed)
        found = _read(living)
        assert found is None or found[1] in states, at


def test_index_that_does_not_fit_its_table_is_noticed_after_a_crash(path, tmp_path):
    store = GroupStore(path)
    store.begin()
    store.set_setting("chain", b"d" * 16)
    store.commit()
    living = copy_of_the_living(path, tmp_path / "living")
    store.close()
    log = living.with_name("group.db-wal")
    data, log_data, needle = living.read_bytes(), log.read_bytes(), id_of(NAMES[7])
    refused = 0
    for found in re.finditer(re.escape(needle), data):
        changed = bytearray(data)
        changed[found.end() - 1] ^= 1
        living.write_bytes(changed)
        log.write_bytes(log_data)
        refused += _read(living) is None
    assert refused == 2, "once in the table and once in its index; other places are no longer in use"
