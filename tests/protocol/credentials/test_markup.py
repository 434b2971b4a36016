"""Documents: the forms that are written, and every hostile form of XML that is not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.markup import NAMESPACE, Element, Form, read_document, write_document
from protocol.errors import RuleError
from protocol.limits import DOCUMENT_BYTES_MAX

FORM = Form(
    "DOCUMENT",
    (
        Element("NAME"),
        Element("DATA", binary=True),
        Element("OWN", ours=True),
        Element("MANY", ours=True, times_min=0, times_max=3),
        Element("PROOF", binary=True, ours=True),
    ),
)
DT = "urn:schemas-microsoft-com:datatypes"
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Cn"]) | st.sampled_from("<>&\"' ]"),
    max_size=60,
)
VALUES: dict[str, list[str | bytes]] = {
    "NAME": ["a <b> & \"c\" 'd' ]]> \u00e9 \U0001f331"],
    "DATA": [bytes(range(200))],
    "OWN": ["x"],
    "MANY": ["1", "2"],
    "PROOF": [b"\0"],
}
GOOD = write_document(FORM, VALUES)


def refused(document: str | bytes, code: str = "invitation-not-trusted") -> RuleError:
    """The one kind of error that a bad document ends in."""
    with pytest.raises(RuleError) as caught:
        read_document(FORM, document)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.detail.isprintable()
    return caught.value


@given(TEXT, st.binary(max_size=300), TEXT, st.lists(TEXT, max_size=3), st.binary(max_size=300))
def test_written_document_reads_back(name, data, own, many, proof):
    written = write_document(
        FORM, {"NAME": [name], "DATA": [data], "OWN": [own], "MANY": many, "PROOF": [proof]}
    )
    for document in (written, written.encode(), "\ufeff" + written):
        found = read_document(FORM, document)
        assert (found.text("NAME"), found.binary("DATA")) == (name, data)
        assert (found.text("OWN"), found.texts("MANY"), found.binary("PROOF")) == (own, tuple(many), proof)


def test_other_prefixes_indentation_order_and_line_ends_say_the_same():
    other = f"""<?xml version='1.0' encoding='utf-8'?>\r
<DOCUMENT xmlns:q="{NAMESPACE}" VERSION='1.0'><q:PROOF xmlns:z="{DT}" z:dt="bin.base64">A A\t=\r\n=</q:PROOF>
        <OWN xmlns="{NAMESPACE}">x</OWN><NAME>&#97;&lt;</NAME><DATA dt:dt="bin.base64" xmlns:dt="{DT}"/>
</DOCUMENT>"""
    found = read_document(FORM, other)
    assert (found.text("NAME"), found.text("OWN"), found.texts("MANY")) == ("a<", "x", ())
    assert (found.binary("DATA"), found.binary("PROOF")) == (b"", b"\0")


def test_space_around_a_text_is_part_of_it():
    assert read_document(FORM, GOOD.replace(">x<", "> x\n<")).text("OWN") == " x\n"


def test_document_that_would_be_too_large_is_refused_when_written():
    with pytest.raises(RuleError) as caught:
        write_document(FORM, VALUES | {"PROOF": [bytes(DOCUMENT_BYTES_MAX)]})
    assert caught.value.code == "invalid-argument"


def test_document_of_the_largest_size_is_written_and_a_larger_one_is_not():
    room = DOCUMENT_BYTES_MAX - len(write_document(FORM, VALUES | {"OWN": [""]}).encode())
    room -= len("<peerd:OWN></peerd:OWN>") - len("<peerd:OWN />")
    assert len(write_document(FORM, VALUES | {"OWN": ["x" * room]})) < DOCUMENT_BYTES_MAX
    assert len(write_document(FORM, VALUES | {"OWN": ["x" * room]}).encode()) == DOCUMENT_BYTES_MAX
    with pytest.raises(RuleError):
        write_document(FORM, VALUES | {"OWN": ["x" * (room + 1)]})


def test_document_of_the_largest_size_is_read_and_a_larger_one_is_not():
    padding = DOCUMENT_BYTES_MAX - len(GOOD.encode())
    assert read_document(FORM, GOOD + " " * padding).text("OWN") == "x"
    assert "bytes" in refused(GOOD + " " * (padding + 1)).detail
    assert "bytes" in refused("\u00e9" * (DOCUMENT_BYTES_MAX // 2 + 1)).detail


@pytest.mark.parametrize("version", ["1.1", "2.0", "0.9", "10.0"])
def test_document_of_another_version_is_refused_under_its_own_name(version):
    error = refused(GOOD.replace('VERSION="1.0"', f'VERSION="{version}"'), "unsupported-version")
    assert version in error.detail


def _with(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE: dict[str, str | bytes] = {
    "empty": "",
    "white space": "\n",
    "text": "hello",
    "another root": GOOD.replace("DOCUMENT", "INVITATION"),
    "root in a namespace": _with("<DOCUMENT ", '<DOCUMENT xmlns="urn:x" '),
    "two roots": GOOD + GOOD,
    "text behind": GOOD + "x",
    "text before": "x" + GOOD,
    "unclosed": GOOD.replace("</DOCUMENT>", ""),
    "crossed": _with("</NAME>", "</OWN>"),
    "NUL": _with(">x<", ">\0<"),
    "NUL behind": GOOD + "\0",
    "reference to NUL": _with(">x<", ">&#0;<"),
    "reference to a control": _with(">x<", ">&#1;<"),
    "reference to half a character": _with(">x<", ">&#xd800;<"),
    "reference beyond Unicode": _with(">x<", ">&#x110000;<"),
    "half a character": _with(">x<", ">\ud800<"),
    "no UTF-8": GOOD.encode().replace(b">x<", b">\xff<"),
    "overlong UTF-8": GOOD.encode().replace(b">x<", b">\xc0\x80<"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1 said": '<?xml version="1.0" encoding="iso-8859-1"?>' + GOOD,
    "UTF-16 said": '<?xml version="1.0" encoding="utf-16"?>' + GOOD,
    "UTF-7 said": '<?xml version="1.0" encoding="utf-7"?>' + GOOD,
    "XML 1.1": '<?xml version="1.1"?>' + GOOD,
    "declaration late": "\n<?xml version='1.0'?>" + GOOD,
    "document type": "<!DOCTYPE DOCUMENT>" + GOOD,
    "document type from a file": '<!DOCTYPE DOCUMENT SYSTEM "file:///etc/passwd">' + GOOD,
    "document type from the net": '<!DOCTYPE DOCUMENT PUBLIC "x" "http://127.0.0.1/x.dtd">' + GOOD,
    "billion laughs": f'<!DOCTYPE DOCUMENT [<!ENTITY l0 "ha">{LAUGHS}]>' + _with(">x<", ">&l9;<"),
    "quadratic blow-up": f'<!DOCTYPE DOCUMENT [<!ENTITY a "{"a" * 50_000}">]>'
    + _with(">x<", f">{'&a;' * 5_000}<"),
    "file entity": '<!DOCTYPE D [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + _with(">x<", ">&f;<"),
    "parameter entity": '<!DOCTYPE D [<!ENTITY % p SYSTEM "http://127.0.0.1/">%p;]>' + GOOD,
    "default attribute": '<!DOCTYPE D [<!ATTLIST NAME a CDATA "b">]>' + GOOD,
    "unknown entity": _with(">x<", ">&nbsp;<"),
    "processing instruction": "<?php x?>" + GOOD,
    "style sheet": '<?xml-stylesheet href="http://127.0.0.1/"?>' + GOOD,
    "instruction inside a value": _with(">x<", ">x<?y z?><"),
    "comment before": "<!-- -->" + GOOD,
    "comment inside a value": _with(">x<", ">x<!-- y --><"),
    "comment behind": GOOD + "<!-- -->",
    "CDATA": _with(">x<", "><![CDATA[x]]><"),
    "CDATA outside": _with("<NAME>", "<![CDATA[ ]]><NAME>"),
    "no version": _with(' VERSION="1.0"', ""),
    "version of words": _with('VERSION="1.0"', 'VERSION="one"'),
    "version with space": _with('VERSION="1.0"', 'VERSION=" 1.0"'),
    "version of other digits": _with('VERSION="1.0"', 'VERSION="\u0661.0"'),
    "version twice": _with("VERSION=", 'VERSION="1.0" VERSION='),
    "version in a namespace": _with("VERSION=", "peerd:VERSION="),
    "another attribute": _with("VERSION=", 'x="y" VERSION='),
    "base URI": _with("VERSION=", 'xml:base="http://127.0.0.1/" VERSION='),
    "attribute on a text": _with("<NAME>", '<NAME x="y">'),
    "base64 without its type": _with('<DATA dt:dt="bin.base64">', "<DATA>"),
    "base64 of another type": _with('<DATA dt:dt="bin.base64">', '<DATA dt:dt="bin.hex">'),
    "base64 type without namespace": _with('<DATA dt:dt="bin.base64">', '<DATA dt="bin.base64">'),
    "text with a type": _with("<NAME>", '<NAME dt:dt="bin.base64">'),
    "undeclared prefix": _with("<NAME>", '<NAME y:x="y">'),
    "types under another name": _with(DT, DT + "x"),
    "our namespace under another name": _with(NAMESPACE, NAMESPACE + "x"),
    "ours outside our namespace": GOOD.replace("peerd:OWN", "OWN"),
    "theirs inside our namespace": GOOD.replace("NAME>", "peerd:NAME>"),
    "unknown element": _with("<NAME>", "<OTHER/><NAME>"),
    "lower case": GOOD.replace("NAME>", "name>"),
    "element missing": _with("<peerd:OWN>x</peerd:OWN>", ""),
    "binary element missing": GOOD[: GOOD.index("<DATA")] + GOOD[GOOD.index("</DATA>") + 7 :],
    "element twice": _with("<peerd:OWN>", "<peerd:OWN>x</peerd:OWN><peerd:OWN>"),
    "element four times": _with("<peerd:MANY>", "<peerd:MANY>0</peerd:MANY>" * 2 + "<peerd:MANY>"),
    "element inside a value": _with(">x<", "><NAME>x</NAME><"),
    "our element inside a value": _with(">x<", "><peerd:MANY>x</peerd:MANY><"),
    "text between": _with("<NAME>", "x<NAME>"),
    "other white space between": _with("<NAME>", "\u00a0<NAME>"),
    "nested": "<DOCUMENT>" * 10_000,
    "many attributes": "<DOCUMENT " + " ".join(f'a{n}=""' for n in range(10_000)) + ">",
    "many namespaces": "<DOCUMENT " + " ".join(f'xmlns:a{n}="u{n}"' for n in range(5_000)) + ">",
    "many elements": _with("<peerd:MANY>", "<peerd:MANY>1</peerd:MANY>" * 2_000 + "<peerd:MANY>"),
    "one long tag": "<" + "a" * 100_000,
    "one long attribute": "<DOCUMENT VERSION='" + "1" * 100_000,
    "include": _with(
        "<NAME>", '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="/etc/passwd"/><NAME>'
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_document_is_refused(case):
    refused(HOSTILE[case])
    document = HOSTILE[case]
    if isinstance(document, str) and case != "half a character":
        refused(document.encode())


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AA",
        "AA=",
        "AAA",
        "AB==",
        "AAB=",
        "A===",
        "AA==AA==",
        "====",
        "*AAA",
        "A-_=",
        "AAAA\u00a0",
        "\uff21AAA",
        "AAAA\v",
    ],
)
def test_base64_in_another_spelling_is_refused(text):
    packed = base64.b64encode(b"\0").decode()
    refused_or_read = _with(f"\n{packed}\n", text)
    with pytest.raises(RuleError) as caught:
        read_document(FORM, refused_or_read).binary("PROOF")
    assert caught.value.code == "invitation-not-trusted"


def test_refusals_do_not_repeat_the_document():
    assert "evil" not in refused(GOOD.replace("DOCUMENT", "evil")).detail
    assert "evil" not in refused(_with("<NAME>", "<evil/><NAME>")).detail


def _read_or_refused(document: str | bytes) -> None:
    codes = {"invitation-not-trusted", "unsupported-version"}
    code = "invitation-not-trusted"
    try:
        found = read_document(FORM, document)
        assert [found.text(name) for name in ("NAME", "OWN")]
        found.binary("DATA")
    except RuleError as error:
        code = error.code
    assert code in codes


@given(st.binary(max_size=500) | st.text(max_size=300))
def test_random_input_gives_the_one_error(document):
    _read_or_refused(document)


@given(st.data())
def test_mutated_document_is_read_or_gives_the_one_error(data):
    document = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(document) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete", "token"])):
            case "set":
                document[place] = data.draw(st.integers(0, 255))
            case "insert":
                document[place:place] = data.draw(st.binary(max_size=4))
            case "delete":
                del document[place : place + data.draw(st.integers(1, 40))]
            case _:
                tokens = [
                    b"<!--",
                    b"-->",
                    b"<![CDATA[",
                    b"]]>",
                    b"<?",
                    b"&#",
                    b"</NAME>",
                    b"<NAME>",
                    b"<!DOCTYPE",
                    b"&",
                ]
                document[place:place] = data.draw(st.sampled_from(tokens))
    _read_or_refused(bytes(document))
