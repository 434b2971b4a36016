"""Attributes as the original writes them: what is written is read back, other forms are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.errors import RuleError
from protocol.limits import ATTRIBUTES_BYTES_MAX, DOCUMENT_BYTES_MAX
from protocol.records.attributes import DATE, INT, STRING, Attribute, canonical_attributes, encode_attributes
from protocol.records.attributes_xml import read_attributes, write_attributes
from tests.support.records import attributes

ONE = '<attribute name="a" type="{}">{}</attribute>'


def refused(document: str) -> str:
    with pytest.raises(RuleError) as caught:
        read_attributes(document)
    assert caught.value.code == "invalid-attributes"
    return caught.value.detail


@given(attributes())
def test_attributes_are_read_back_as_they_were_written(told):
    assert read_attributes(write_attributes(told)) == told


def test_the_form_is_the_originals():
    told = canonical_attributes(
        [Attribute("due", DATE, 1_790_000_000_000), Attribute("n", INT, -5), Attribute("t", STRING, "<&>\"'")]
    )
    assert write_attributes(told) == (
        "<attributes>\n"
        '  <attribute name="due" type="date">2026-09-21T14:13:20Z</attribute>\n'
        '  <attribute name="n" type="int">-5</attribute>\n'
        '  <attribute name="t" type="string">&lt;&amp;&gt;"\'</attribute>\n'
        "</attributes>\n"
    )


def test_as_many_attributes_as_a_record_holds_can_be_written_and_read():
    names = (
        f"{first}{second}"
        for first in "abcdefghijklmnopqrstuvwxyz"
        for second in "0123456789ABCDEFGHIJKLMNOPQ"
    )
    told = [Attribute(name, INT, 0) for name in names][: (ATTRIBUTES_BYTES_MAX - 3) // 6]
    assert len(encode_attributes(told)) <= ATTRIBUTES_BYTES_MAX < len(encode_attributes(told)) + 6
    assert read_attributes(write_attributes(told)) == tuple(told)
    worst = (Attribute("a", STRING, "\r" * (ATTRIBUTES_BYTES_MAX - 10)),)
    assert read_attributes(write_attributes(worst)) == worst


@pytest.mark.parametrize(
    "document", ["<attributes/>", "<attributes></attributes>", " \n<attributes>\n\t</attributes>\n"]
)
def test_no_attributes_are_attributes(document):
    assert read_attributes(document) == ()


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("int", "5", 5), ("int", " -5\n", -5), ("int", "007", 7), ("int", "9223372036854775807", 2**63 - 1),
        ("string", " a ", " a "), ("string", "", ""), ("string", "&#13;&#10;&#x41;&quot;", '\r\nA"'),
        ("string", "a\r\nb", "a\nb"), ("date", "\t2026-09-21T14:13:20Z ", 1_790_000_000_000),
        ("date", "1970", 0),
    ],
)  # fmt: skip
def test_values_are_read_by_their_type(kind, text, value):
    (read,) = read_attributes(f"<attributes>{ONE.format(kind, text)}</attributes>")
    assert read.value == value


def test_order_of_a_document_does_not_matter():
    lines = [ONE.format("string", text) for text in ("b", "a")] + [ONE.format("int", "3")]
    assert [one.value for one in read_attributes(f"<attributes>{''.join(lines)}</attributes>")] == [
        3,
        "a",
        "b",
    ]


def test_declaration_is_allowed():
    assert read_attributes('<?xml version="1.0" encoding="utf-16"?><attributes/>') == ()


BODY = ONE.format("string", "x")
BAD = {
    "nothing": "",
    "no XML": "attributes",
    "not closed": "<attributes>",
    "two roots": "<attributes/><attributes/>",
    "another root": "<attribute/>",
    "root with an attribute": '<attributes a="b"/>',
    "root with a namespace": '<attributes xmlns="urn:x"/>',
    "another element": "<attributes><clause/></attributes>",
    "no name": '<attributes><attribute type="int">1</attribute></attributes>',
    "no type": '<attributes><attribute name="a">1</attribute></attributes>',
    "one more": '<attributes><attribute name="a" type="int" x="">1</attribute></attributes>',
    "unknown type": f"<attributes>{ONE.format('float', '1')}</attributes>",
    "type in capitals": f"<attributes>{ONE.format('INT', '1')}</attributes>",
    "inside a value": f"<attributes>{ONE.format('string', '<b/>')}</attributes>",
    "text outside": f"<attributes>x{BODY}</attributes>",
    "text behind": f"<attributes>{BODY}x</attributes>",
    "no int": f"<attributes>{ONE.format('int', '1.0')}</attributes>",
    "plus": f"<attributes>{ONE.format('int', '+1')}</attributes>",
    "no digits": f"<attributes>{ONE.format('int', '')}</attributes>",
    "other digits": f"<attributes>{ONE.format('int', '٣')}</attributes>",
    "too large": f"<attributes>{ONE.format('int', '9223372036854775808')}</attributes>",
    "far too large": f"<attributes>{ONE.format('int', '9' * 5000)}</attributes>",
    "no date": f"<attributes>{ONE.format('date', 'tomorrow')}</attributes>",
    "bad name": '<attributes><attribute name="a-b" type="int">1</attribute></attributes>',
    "reserved name": '<attributes><attribute name="peerrecordid" type="string">1</attribute></attributes>',
    "twice": f"<attributes>{BODY}{BODY}</attributes>",
    "document type": "<!DOCTYPE attributes><attributes/>",
    "entity": '<!DOCTYPE a [<!ENTITY b "c">]><attributes>&b;</attributes>',
    "unknown entity": f"<attributes>{ONE.format('string', '&b;')}</attributes>",
    "instruction": "<attributes><?x y?></attributes>",
    "comment": "<attributes><!-- x --></attributes>",
    "CDATA": f"<attributes>{ONE.format('string', '<![CDATA[x]]>')}</attributes>",
    "surrogate": "<attributes>\ud800</attributes>",
    "control character": f"<attributes>{ONE.format('string', '&#1;')}</attributes>",
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD)
def test_document_of_another_form_is_refused(document):
    refused(document)


@pytest.mark.parametrize("kind, text, told", [("date", "soon", "2026-01-02"), ("int", "ten", "digits")])
def test_refusal_tells_how_a_value_is_written(kind, text, told):
    assert told in refused(f"<attributes>{ONE.format(kind, text)}</attributes>")


def test_document_is_bounded():
    around = len("<attributes></attributes>")
    assert read_attributes(f"<attributes>{' ' * (DOCUMENT_BYTES_MAX - around)}</attributes>") == ()
    assert str(DOCUMENT_BYTES_MAX) in refused(
        f"<attributes>{' ' * (DOCUMENT_BYTES_MAX - around + 1)}</attributes>"
    )


@given(attributes(3).flatmap(lambda told: st.tuples(st.just(write_attributes(told)), st.data())))
def test_damaged_document_is_read_or_refused(both):
    document, data = both
    at = data.draw(st.integers(0, len(document) - 1))
    damaged = document[:at] + data.draw(st.text(max_size=2)) + document[at + data.draw(st.integers(0, 3)) :]
    try:
        read = read_attributes(damaged)
    except RuleError:
        return
    assert read == canonical_attributes(read)
