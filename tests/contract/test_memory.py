from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given, strategies as st

from protocol.authority import memory
from protocol.authority.memory import MemoryActSet
from protocol.records.memory import MemoryStore
from protocol.records.record import body_hash_of
from tests.contract import act_set, record_histories
from tests.contract.act_set import ActStoreContract, id_of, put, raw_of
from tests.contract.record_model import ASIDE, KEPT, QUESTIONS, version
from tests.contract.record_set import RecordSetContract


class MemoryMedium:
    """A process's memory, outliving the process."""

    def __init__(self, kind=MemoryActSet):
        self._set = kind()
        self._writes_left = None

    def open(self):
        self._set = self._set.reopened(self._before_write)
        return self._set

    def crash(self):
        self._set.close()

    def fail_from(self, write):
        self._writes_left = write - 1

    def heal(self):
        self._writes_left = None

    def _before_write(self, operation):
        if self._writes_left == 0:
            raise OSError(5, "Input/output error")
        if self._writes_left is not None:
            self._writes_left -= 1


class TestMemoryActSet(ActStoreContract):
    module: ClassVar = memory
    failure: ClassVar[type[Exception]] = OSError

    @pytest.fixture
    def new_medium(self):
        return MemoryMedium

    def test_set_that_was_reopened_elsewhere_is_closed(self):
        first = MemoryActSet()
        put(first, "a")
        second = first.reopened()
        assert second.get(id_of("a")) == raw_of("a")
        with pytest.raises(AssertionError, match="closed"):
            first.get(id_of("a"))

    def test_medium_is_told_every_write_by_name(self):
        seen: list[str] = []
        store = MemoryActSet(seen.append)
        store.begin()
        store.put(id_of("a"), raw_of("a"))
        store.discard(id_of("a"))
        store.set_setting("chain", b"1")
        store.note("act", 1, b"")
        store.commit()
        assert seen == ["put", "discard", "set_setting", "note", "commit"]


class TestMemoryStoreOfActs(ActStoreContract):
    module: ClassVar = memory
    failure: ClassVar[type[Exception]] = OSError

    @pytest.fixture
    def new_medium(self):
        return lambda: MemoryMedium(MemoryStore)


class TestMemoryStoreOfRecords(RecordSetContract):
    failure: ClassVar[type[Exception]] = OSError

    @pytest.fixture
    def new_medium(self):
        return lambda: MemoryMedium(MemoryStore)

    def test_medium_is_told_every_write_by_name(self):
        seen: list[str] = []
        store = MemoryStore(seen.append)
        header = version(1, body=b"x")
        store.begin()
        store.put_version(header, KEPT, 0)
        store.put_body(body_hash_of(b"x"), b"x")
        store.show(header)
        store.hide(header.record_id)
        store.release_body(header.id)
        store.set_state(header.id, ASIDE, 0)
        store.set_refresh(header.record_id, 1)
        store.discard_version(header.id)
        store.commit()
        assert seen == [
            "put_version", "put_body", "show", "hide", "release_body", "set_state", "set_refresh",
            "discard_version", "commit",
        ]  # fmt: skip


@act_set.histories()
def test_store_keeps_acts_as_the_set_of_acts_does(history):
    act_set.check_history(MemoryMedium(MemoryStore), history)


@record_histories.histories()
def test_store_keeps_records_as_the_model_does(history):
    record_histories.check_history(MemoryMedium(MemoryStore), history)


@given(
    history=st.lists(record_histories.STEPS, max_size=30),
    asked=st.lists(st.sampled_from(sorted(QUESTIONS)), min_size=30, max_size=30),
)
def test_store_answers_as_the_model_does(history, asked):
    record_histories.check_questions(MemoryMedium(MemoryStore), history, asked)
