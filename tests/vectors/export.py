"""Golden vectors of exports: a whole one, and what of broken ones can be read.

Byte strings are lower-case hex. `python -m tests.vectors.export` writes the file anew; a change in it is a
change of the format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.errors import RuleError
from protocol.records.export import ExportReader, ExportWriter, Item, Kind

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "export.json"
GID = bytes(range(32))
ITEMS = (Item(Kind.ELEMENT, b"an act"), Item(Kind.RECORD, b"a version"), Item(Kind.RECORD, bytes(300)))


def export(gid: bytes = GID) -> bytes:
    """One export; what an item holds is of no concern to this format."""
    writer = ExportWriter(gid)
    return b"".join([writer.begin(), *(writer.item(*item) for item in ITEMS), writer.end()])


def outcome(data: bytes) -> dict[str, Any]:
    """How many items a reader gets from a file, and the slug that it ends with."""
    reader, items = ExportReader(GID), 0
    try:
        for _ in reader.feed(data):
            items += 1
        reader.finish()
    except RuleError as error:
        return {"items": items, "refused": error.code}
    return {"items": items, "refused": None}


def _broken() -> dict[str, bytes]:
    whole = export()
    return {
        "nothing": b"",
        "another file": b"SQLite format 3\0",
        "of another group": export(bytes(32)),
        "without its end": whole[:-60],
        "one bit changed in the second item": whole.replace(b"a version", b"a Version"),
        "an item left out": whole.replace(_chunk_of(whole, b"a version"), b""),
        "something behind it": whole + b"\0",
    }


def _chunk_of(whole: bytes, raw: bytes) -> bytes:
    writer = ExportWriter(GID)
    chunk = writer.item(Kind.RECORD, raw)
    assert chunk in whole
    return chunk


def build() -> dict[str, Any]:
    """The whole file."""
    return {
        "gid": GID.hex(),
        "items": [{"kind": int(kind), "raw": raw.hex()} for kind, raw in ITEMS],
        "export": export().hex(),
        "broken": [{"why": why, "data": data.hex()} | outcome(data) for why, data in _broken().items()],
    }


def write() -> None:
    """Write the file that `test_export` compares with."""
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
