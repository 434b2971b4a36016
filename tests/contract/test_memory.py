from __future__ import annotations

from typing import ClassVar

import pytest

from protocol.authority import memory
from protocol.authority.memory import MemoryActSet
from tests.contract.act_set import ActStoreContract, id_of, put, raw_of


class MemoryMedium:
    """A process's memory, outliving the process."""

    def __init__(self):
        self._set = MemoryActSet()
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
