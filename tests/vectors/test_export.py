"""The golden vectors of exports: files are written and read as they were then."""

from __future__ import annotations

import json

import pytest

from protocol.records.export import ExportReader
from tests.vectors.export import PATH, build, outcome

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


def test_the_export_holds_the_items():
    reader = ExportReader(bytes.fromhex(VECTORS["gid"]))
    found = list(reader.feed(bytes.fromhex(VECTORS["export"])))
    reader.finish()
    assert [{"kind": int(kind), "raw": raw.hex()} for kind, raw in found] == VECTORS["items"]


@pytest.mark.parametrize("vector", VECTORS["broken"], ids=lambda vector: vector["why"])
def test_of_a_broken_one_as_much_can_be_read_as_written(vector):
    told = outcome(bytes.fromhex(vector["data"]))
    assert told == {"items": vector["items"], "refused": vector["refused"]}
    assert told["refused"]
