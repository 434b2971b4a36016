"""Golden vectors of records: ids, headers, items, attributes, order, the bodies that peerd reads, the rules,
and what revocations leave standing.

Byte strings are lower-case hex; what a field holds is told as in the vectors of AUTH. `python -m
tests.vectors.records` writes the file anew; a change in it is a change of the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.authority.view import Hit
from protocol.codec import decode_untrusted, encode
from protocol.limits import EXT_BYTES_MAX, HEADER_BYTES_MAX
from protocol.records.admission import Valid, Verdict, Void, judge
from protocol.records.attributes import DATE, INT, INT_MAX, INT_MIN, STRING, Attribute
from protocol.records.attributes_xml import write_attributes
from protocol.records.dates import DATE_MS_MAX, DATE_MS_MIN
from protocol.records.order import kept
from protocol.records.record import Header, RecordItem, body_hash_of, new_record_id
from protocol.records.reserved import (
    CONTACT_TYPE,
    EMPTY_MANIFEST,
    MANIFEST_TYPE,
    Contact,
    encode_contact,
    encode_manifest,
)
from tests.protocol.records.bad_records import BAD
from tests.protocol.records.test_admission import Told
from tests.support.builders import DAY, Group
from tests.support.keys import named
from tests.support.records import PEOPLE, Writer, content_of, new_circle, random8, seal_header
from tests.vectors.authority import _json

PATH = Path(__file__).parents[2] / "protocol" / "vectors" / "records.json"
ATTRIBUTES = (
    Attribute("due", DATE, 1_790_000_000_250),
    Attribute("due", DATE, DATE_MS_MIN),
    Attribute("due", DATE, DATE_MS_MAX),
    Attribute("priority", INT, -1),
    Attribute("priority", INT, INT_MIN),
    Attribute("priority", INT, INT_MAX),
    Attribute("tag", STRING, "Groß & <klein>"),
    Attribute("tag", STRING, "家\r\n\t"),
    Attribute("tag", INT, 7),
    Attribute("Tag", STRING, ""),
)


class _Made:
    """One version of each sort, written one after the other."""

    def __init__(self, group: Group) -> None:
        alice, dave = Writer.of(group, "alice"), Writer.of(group, "dave")
        note = dave.add("note", (Attribute("title", STRING, "hello"),), b"hello, group")
        changed = alice.update(note, body=b"hello, everybody")
        short = dave.add("task", life_s=DAY)
        contact = Contact(("192.0.2.7:3587", "[2001:db8::7]:3587"), bytes(range(16)), bytes(range(32)))
        listed = encode_manifest([note.header.id, short.header.id])
        self.told: list[tuple[str, RecordItem]] = [
            ("durable, with a body", note),
            ("changed by an administrator", changed),
            ("deleted by its creator", dave.delete(changed)),
            ("expiring, without a body", short),
            ("expiring, deleted", dave.delete(short)),
            ("every kind of attribute", dave.add("note", ATTRIBUTES)),
            ("contact", dave.add(CONTACT_TYPE, body=encode_contact(contact), life_s=DAY)),
            ("manifest", alice.add(MANIFEST_TYPE, body=listed)),
            ("ext and a field of a newer release", dave.add(ext={"a": b"\x01"}, later=[None, 1])),
            ("largest counter", dave.add(version=2**53)),
        ]


def _version(what: str, item: RecordItem) -> dict[str, Any]:
    header = item.header
    return {
        "what": what,
        "fields": _json(content_of(header)),
        "content": header.content.hex(),
        "id": header.id.hex(),
        "header": header.raw.hex(),
        "body": None if item.body is None else item.body.hex(),
        "item": item.raw.hex(),
        "item_without_body": RecordItem(header).raw.hex(),
    }


def _record_ids(gid: bytes) -> list[dict[str, Any]]:
    return [
        {
            "gid": gid.hex(),
            "creator": named(name).public.pid.hex(),
            "durable": durable,
            "random": random8(name).hex(),
            "record_id": new_record_id(gid, named(name).public.pid, durable, random8(name)).hex(),
        }
        for name in ("alice", "dave", "erin")
        for durable in (True, False)
    ]


def _order(group: Group) -> dict[str, Any]:
    """Versions of one record by its creator and six administrators, and which of them are kept."""
    dave = Writer.of(group, "dave")
    first = dave.add()
    names = [f"admin{number}" for number in range(6)]
    for name in names:
        group.grant(f"alice -> {name}:admin")
    late = first.header.hlc + (9 << 16)
    made = [first, dave.update(first, hlc=late)]
    for number, name in enumerate(names):
        writer = Writer.of(group, name)
        made.append(writer.update(first, hlc=late + (number // 2)))
        made.append(writer.update(first, hlc=late - 1))
    versions = [item.header for item in made]
    return {
        "creator": dave.pid.hex(),
        "versions": [version.raw.hex() for version in sorted(versions, key=lambda one: one.id)],
        "kept": [version.id.hex() for version in kept(versions, dave.pid)],
    }


def _refused_headers(header: Header) -> list[dict[str, str]]:
    """Headers that no decoder takes, whatever is known of the group."""
    dave, good = named("dave"), content_of(header)
    parts = [header.content, header.key, header.signature]
    lies: dict[str, dict[str, Any]] = {
        "attributes in another order": {"attributes": [["b", 1, 0], ["a", 1, 0]]},
        "an attribute twice": {"attributes": [["a", 1, 0], ["a", 1, 0]]},
        "no attributes said": {"attributes": []},
        "a reserved name": {"attributes": [["peerRecordId", 2, "x"]]},
        "a name with a hyphen": {"attributes": [["a-b", 1, 0]]},
        "a control character": {"attributes": [["a", 2, "\x01"]]},
        "an int beyond 64 bits": {"attributes": [["a", 1, 2**63]]},
        "a date beyond the year 9999": {"attributes": [["a", 3, DATE_MS_MAX + 1]]},
        "an unknown kind": {"attributes": [["a", 4, 0]]},
        "not deleted said": {"deleted": False},
        "a hash without a size": {"size": None},
        "a size without a hash": {"body": None},
        "an empty body": {"size": 0},
        "a type in capitals": {"type": "Note"},
        "a counter of 0": {"version": 0},
        "ext too large": {"ext": {"x": b"x" * EXT_BYTES_MAX}},
    }
    return [
        {"why": "a part too few", "header": encode(parts[:2]).hex()},
        {"why": "a part too many", "header": encode([*parts, b""]).hex()},
        {"why": "key and signature swapped", "header": encode([parts[0], parts[2], parts[1]]).hex()},
        {"why": "bytes behind the end", "header": (header.raw + b"\0").hex()},
        {"why": "somebody else's key", "header": seal_header(good, named("erin")).hex()},
        {"why": "key of small order", "header": encode([parts[0], bytes(32), parts[2]]).hex()},
        {"why": "content that is no map", "header": encode([encode([]), *parts[1:]]).hex()},
        *({"why": why, "header": seal_header(good | lie, dave).hex()} for why, lie in lies.items()),
    ]


def _refused_items(item: RecordItem) -> list[dict[str, str]]:
    raw, body = item.header.raw, item.body or b""
    bad = {
        "a header alone": raw,
        "one part": encode([raw]),
        "three parts": encode([raw, body, None]),
        "another body": encode([raw, body[:-1] + b"?"]),
        "a longer body": encode([raw, body + b"?"]),
        "an empty body": encode([raw, b""]),
        "a body of text": encode([raw, "hello"]),
    }
    return [{"why": why, "item": told.hex()} for why, told in bad.items()]


def _refused_by_rules(common: int) -> list[dict[str, Any]]:
    """For each rule versions that it alone refuses, once the group's elements and `given` are admitted."""
    told = []
    for rule, makers in BAD.items():
        for make in makers:
            group = new_circle()
            header = make(group)
            given = [element.raw.hex() for element in group.elements[common:]]
            what = make.__name__.replace("_", " ")
            told.append({"rule": rule, "what": what, "given": given, "header": header.raw.hex()})
    return told


def verdict_text(verdict: Verdict) -> str:
    """A verdict as the file has it."""
    if isinstance(verdict, Valid):
        return "valid"
    assert isinstance(verdict, Void), verdict
    return f"void: {verdict.reason}"


def _standing(group: Group, header: Header) -> list[dict[str, Any]]:
    """What revocations make of one version; `lists` are the manifests that are here."""
    here, without = encode_manifest([header.id, bytes(32)]), encode_manifest([bytes(32)])
    listed, unlisted, absent = body_hash_of(here), body_hash_of(without), b"\x07" * 32
    hits: list[list[tuple[str, bytes | None, int]]] = [
        [],
        [("drop", None, 0)],
        [("time", None, header.hlc)],
        [("time", None, header.hlc - 1)],
        [("manifest", listed, 0)],
        [("manifest", unlisted, 0)],
        [("manifest", absent, 0)],
        [("manifest", None, 0)],
        [("manifest", EMPTY_MANIFEST, 0)],
        [("a rule of a newer release", None, header.hlc)],
        [("time", None, header.hlc), ("manifest", listed, 0)],
        [("manifest", absent, 0), ("drop", None, 0)],
    ]
    lists = {listed: frozenset({header.id, bytes(32)}), unlisted: frozenset({bytes(32)})}
    told = []
    for case in hits:
        made = tuple(Hit(rule, manifest, hlc, bytes(32)) for rule, manifest, hlc in case)
        told.append(
            {
                "hits": [
                    {"rule": hit.rule, "manifest": hit.manifest and hit.manifest.hex(), "hlc": hit.hlc}
                    for hit in made
                ],
                "lists": [here.hex(), without.hex()],
                "header": header.raw.hex(),
                "verdict": verdict_text(judge(header, Told(group.view, made), lists.get)),
            }
        )
    return told


def _keys() -> dict[str, Any]:
    return {
        name: {
            "seed": named(name).seed.hex(),
            "public": named(name).public.raw.hex(),
            "pid": named(name).public.pid.hex(),
        }
        for name in PEOPLE
    }


def build() -> dict[str, Any]:
    """All vectors of this file."""
    group = new_circle()
    elements = [element.raw.hex() for element in group.elements]
    made = _Made(group).told
    versions = dict(made)
    note = versions["durable, with a body"]
    contact, manifest = versions["contact"], versions["manifest"]
    attributes = versions["every kind of attribute"].header
    return {
        "keys": _keys(),
        "gid": group.gid.hex(),
        "elements": elements,
        "grants": {name: Writer.of(group, name).cred.hex() for name in PEOPLE},
        "record_ids": _record_ids(group.gid),
        "versions": [_version(what, item) for what, item in made],
        "attributes": {
            "header": attributes.raw.hex(),
            "document": write_attributes(attributes.attributes),
        },
        "contact": {
            "fields": _json(decode_untrusted(contact.body or b"", bytes_max=HEADER_BYTES_MAX)),
            "body": (contact.body or b"").hex(),
        },
        "manifest": {
            "ids": sorted([note.header.id.hex(), versions["expiring, without a body"].header.id.hex()]),
            "body": (manifest.body or b"").hex(),
            "hash": body_hash_of(manifest.body or b"").hex(),
            "hash_of_none": EMPTY_MANIFEST.hex(),
        },
        "order": _order(group),
        "refused_headers": _refused_headers(note.header),
        "refused_items": _refused_items(note),
        "refused_by_rules": _refused_by_rules(len(elements)),
        "standing": _standing(group, note.header),
    }


def write() -> None:
    """Write the file that `test_records` compares with."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
