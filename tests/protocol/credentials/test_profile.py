"""The shape of certificates: what is written is what was meant, and no other shape is read.

Each hostile form carries a signature that holds: it is refused for its form alone.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import warnings
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, strategies as st

from protocol.credentials.certificates import Certificate, decode_untrusted_certificate
from protocol.credentials.keys import holds
from protocol.credentials.names import name_of_key
from protocol.credentials.profile import Kind, find_untrusted_values
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import authority_of
from protocol.limits import CERTIFICATE_BYTES_MAX, END_OF_TIME_S
from protocol.peer_time import Window
from tests.protocol.credentials.given import GID, START, gmc, grc, idc, key
from tests.protocol.credentials.surgery import (
    ALGORITHM,
    ED25519,
    ISSUER,
    PUBLIC_KEY,
    SERIAL,
    SUBJECT,
    VALIDITY,
    VERSION,
    Body,
    apart,
    common_name,
    inside,
    parts,
    tlv,
)

ADMIN, INVITING, MEMBER = gmc(level=1), gmc(level=254), gmc(level=255)
GOOD = {"grc": grc(), "admin": ADMIN, "inviting": INVITING, "member": MEMBER, "idc": idc()}
SIGNERS = {"grc": key("root"), "idc": key("alice")}
BASIC, USAGE, PURPOSES, SUBJECT_KEY, ISSUER_KEY, NAMES, CLAIMS = range(7)
CLAIMS_OID = {
    kind: x509.ObjectIdentifier(f"2.25.{0xB6D5B0E08E5B4747B394A74DD31DD0DD}.{kind.value}") for kind in Kind
}


def reference(certificate: Certificate, signer: str) -> bytes:
    """The same certificate as the library's builder makes it, told one by one what the profile says."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def usage(*wanted: str) -> x509.KeyUsage:
        known = [
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
        ]
        known += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
        return x509.KeyUsage(**{one: one in wanted for one in known})

    def date(seconds: int) -> dt.datetime:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)

    found = x509.load_der_x509_certificate(certificate.der)
    is_gmc = certificate.kind is Kind.GMC
    issuing = certificate.kind is Kind.GRC or (is_gmc and certificate.level != 255)
    usages = [
        *(["digital_signature"] if certificate.kind is not Kind.GRC else []),
        *(["key_cert_sign"] if issuing else []),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(authority_of(GID) if certificate.kind is Kind.GRC else certificate.key.authority))
        .issuer_name(name(certificate.issuer_name))
        .public_key(certificate.key.crypto)
        .serial_number(certificate.serial)
        .not_valid_before(date(certificate.window.start))
        .not_valid_after(date(certificate.window.end))
        .add_extension(x509.BasicConstraints(issuing, 0 if certificate.level == 254 else None), critical=True)
        .add_extension(usage(*usages), critical=True)
    )
    if is_gmc:
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier(certificate.key.pid[:20]), critical=False)
    issuer_key = x509.AuthorityKeyIdentifier(certificate.issuer_authority, None, None)
    builder = builder.add_extension(issuer_key, critical=False)
    if is_gmc:
        group, peer = authority_of(GID), certificate.key.authority
        names = [x509.UniformResourceIdentifier(f"spiffe://{group}/{peer}"), x509.DNSName(f"{peer}.{group}")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    claims = found.extensions.get_extension_for_oid(CLAIMS_OID[certificate.kind]).value
    return (
        builder.add_extension(claims, critical=False)
        .sign(key(signer).crypto, None)
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize("which", GOOD)
def test_certificate_is_what_the_librarys_builder_makes_of_the_profile(which):
    certificate = decode_untrusted_certificate(GOOD[which])
    signer = "alice" if which == "idc" else "root"
    assert reference(certificate, signer) == GOOD[which]


@given(
    st.sampled_from([1, 24, 254, 255]),
    st.text("x\u00e9\U0001f331", max_size=149),
    st.sampled_from([0, START, 2_524_607_999, 2_524_608_000, END_OF_TIME_S]),
    st.sampled_from([START, 2_524_607_999, 2_524_608_000, END_OF_TIME_S]),
)
def test_certificate_of_any_shape_is_what_the_librarys_builder_makes(level, classifier, one, other):
    window = Window(min(one, other), max(one, other))
    der = gmc(level=level, peer_name=str(name_of_key(key("alice").public, classifier)), window=window)
    assert reference(decode_untrusted_certificate(der), "root") == der


@pytest.mark.parametrize("which", GOOD)
def test_values_are_those_that_the_librarys_parser_finds(which):
    der = GOOD[which]
    parsed, certificate = x509.load_der_x509_certificate(der), decode_untrusted_certificate(der)
    assert certificate.signature == parsed.signature
    assert certificate.tbs == parsed.tbs_certificate_bytes
    assert certificate.serial == parsed.serial_number
    assert certificate.key.crypto == parsed.public_key()
    assert certificate.window.start == parsed.not_valid_before_utc.timestamp()
    assert certificate.window.end == parsed.not_valid_after_utc.timestamp()
    assert parsed.version is x509.Version.v3
    assert parsed.subject.rfc4514_string() == f"CN={certificate.subject_name}"
    assert parsed.issuer.rfc4514_string() == f"CN={certificate.issuer_name}"


def _without(body: Body, place: int) -> Body:
    return Body(body.fields, body.extensions[:place] + body.extensions[place + 1 :])


def _spki(public_key) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    oid = x509.ObjectIdentifier(dotted)
    made = x509.CertificateBuilder().add_extension(x509.UnrecognizedExtension(oid, value), critical=critical)
    name = x509.Name([])
    made = made.subject_name(name).issuer_name(name).serial_number(1).public_key(key("any").public.crypto)
    day = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    der = (
        made.not_valid_before(day)
        .not_valid_after(day)
        .sign(key("any").crypto, None)
        .public_bytes(Encoding.DER)
    )
    return apart(der).extensions[0]


def _names(*general_names: bytes) -> bytes:
    return _extension("2.5.29.17", tlv(0x30, *general_names))


RSA = rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key()
P256 = ec.derive_private_key(7, ec.SECP256R1()).public_key()
SHA1_WITH_RSA = bytes.fromhex("300d06092a864886f70d0101050500")
NULL_PARAMETERS = bytes.fromhex("300706032b65700500")
PEER = authority_of(key("alice").public.pid).encode()
GROUP = authority_of(GID).encode()
URI = b"spiffe://" + GROUP + b"/" + PEER
GOOD_DATES = parts(apart(MEMBER).fields[VALIDITY])
LATE = tlv(0x18, b"20270921141320Z")

FIELDS = {
    "version 1": (VERSION, b""),
    "version 1 said": (VERSION, tlv(0xA0, tlv(2, b"\0"))),
    "version 2": (VERSION, tlv(0xA0, tlv(2, b"\1"))),
    "version 4": (VERSION, tlv(0xA0, tlv(2, b"\3"))),
    "serial zero": (SERIAL, tlv(2, b"\0")),
    "serial zero in 20 bytes": (SERIAL, tlv(2, bytes(20))),
    "serial negative": (SERIAL, tlv(2, b"\x80" + bytes(19))),
    "serial of 21 bytes": (SERIAL, tlv(2, b"\0\x80" + bytes(19))),
    "serial of 19 bytes": (SERIAL, tlv(2, b"\x40" + bytes(18))),
    "serial padded": (SERIAL, tlv(2, b"\0\x40" + bytes(18))),
    "serial with a low top bit": (SERIAL, tlv(2, b"\x3f" + bytes(19))),
    "sha-1": (ALGORITHM, SHA1_WITH_RSA),
    "algorithm with parameters": (ALGORITHM, NULL_PARAMETERS),
    "issuer empty": (ISSUER, tlv(0x30)),
    "issuer with two common names": (ISSUER, common_name(GROUP, GROUP)),
    "issuer printable": (ISSUER, common_name(GROUP, tag=0x13)),
    "subject empty": (SUBJECT, tlv(0x30)),
    "subject with two common names": (SUBJECT, common_name(PEER, PEER)),
    "subject with NUL": (SUBJECT, common_name(PEER[:39] + b"\0")),
    "subject with NUL behind": (SUBJECT, common_name(PEER + b"\0x")),
    "subject with a line break": (SUBJECT, common_name(PEER[:39] + b"\n")),
    "subject with a direction override": (SUBJECT, common_name(PEER[:37] + "\u202e".encode())),
    "subject in capitals": (SUBJECT, common_name(PEER.upper())),
    "subject of another key": (SUBJECT, common_name(key("mallory").public.authority.encode())),
    "subject printable": (SUBJECT, common_name(PEER, tag=0x13)),
    "subject not text": (SUBJECT, common_name(PEER, tag=0x04)),
    "subject with two attributes in one part": (
        SUBJECT,
        tlv(0x30, tlv(0x31, *(inside(parts(common_name(text))[0]) for text in (PEER, b"x")))),
    ),
    "subject with 50 parts": (SUBJECT, common_name(*[PEER] * 50)),
    "ends before it starts": (VALIDITY, tlv(0x30, *reversed(GOOD_DATES))),
    "early date in the long form": (VALIDITY, tlv(0x30, GOOD_DATES[0], LATE)),
    "late date in the short form": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x17, b"500101000000Z"))),
    "date before 1970": (VALIDITY, tlv(0x30, tlv(0x17, b"691231235959Z"), GOOD_DATES[1])),
    "date in year 0": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x18, b"00000101000000Z"))),
    "date with a fraction": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x18, b"20510921141320.5Z"))),
    "date with an offset": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x17, b"2709211413+0000"))),
    "date without seconds": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x17, b"2709211413Z"))),
    "30 February": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x17, b"270230000000Z"))),
    "second 60": (VALIDITY, tlv(0x30, GOOD_DATES[0], tlv(0x17, b"270630235960Z"))),
    "RSA key": (PUBLIC_KEY, _spki(RSA)),
    "short RSA key": (PUBLIC_KEY, _spki(rsa.RSAPublicNumbers(65537, (1 << 1023) + 1).public_key())),
    "P-256 key": (PUBLIC_KEY, _spki(P256)),
    "key of small order": (PUBLIC_KEY, tlv(0x30, ED25519, tlv(3, b"\0\1" + bytes(31)))),
    "key in a second encoding": (PUBLIC_KEY, tlv(0x30, ED25519, tlv(3, b"\0" + b"\xff" * 32))),
    "key with unused bits": (PUBLIC_KEY, tlv(0x30, ED25519, tlv(3, b"\1" + key("alice").public.raw))),
    "key of another peer": (PUBLIC_KEY, key("mallory").public.spki),
}
UNKNOWN = _extension("1.3.6.1.4.1.99999.1", b"\5\0")
EXTENSIONS: dict[str, Callable[[Body], Body]] = {
    "no extensions": lambda body: Body(body.fields, []),
    "unknown critical extension": lambda body: Body(
        body.fields, [*body.extensions, _extension("1.3.6.1.4.1.99999.1", b"\5\0", critical=True)]
    ),
    "unknown extension behind": lambda body: Body(body.fields, [*body.extensions, UNKNOWN]),
    "unknown extension in the middle": lambda body: Body(
        body.fields, [*body.extensions[:BASIC], UNKNOWN, *body.extensions[BASIC:]]
    ),
    "duplicate constraints": lambda body: Body(body.fields, [body.extensions[BASIC], *body.extensions]),
    "duplicate names": lambda body: Body(
        body.fields, [*body.extensions[:CLAIMS], body.extensions[NAMES], body.extensions[CLAIMS]]
    ),
    "duplicate claims": lambda body: Body(body.fields, [*body.extensions, body.extensions[CLAIMS]]),
    "another order": lambda body: Body(
        body.fields, [body.extensions[USAGE], body.extensions[BASIC], *body.extensions[2:]]
    ),
    "CA": lambda body: body.with_extension(
        BASIC, _extension("2.5.29.19", bytes.fromhex("30030101ff"), critical=True)
    ),
    "CA said with 1": lambda body: body.with_extension(
        BASIC, _extension("2.5.29.19", bytes.fromhex("3003010101"), critical=True)
    ),
    "not CA said": lambda body: body.with_extension(
        BASIC, _extension("2.5.29.19", bytes.fromhex("3003010100"), critical=True)
    ),
    "path length without CA": lambda body: body.with_extension(
        BASIC, _extension("2.5.29.19", bytes.fromhex("3003020100"), critical=True)
    ),
    "uncritical constraints": lambda body: body.with_extension(BASIC, _extension("2.5.29.19", tlv(0x30))),
    "signs certificates": lambda body: body.with_extension(
        USAGE, _extension("2.5.29.15", bytes.fromhex("03020284"), critical=True)
    ),
    "uncritical usage": lambda body: body.with_extension(
        USAGE, _extension("2.5.29.15", bytes.fromhex("03020780"))
    ),
    "usage with needless bits": lambda body: body.with_extension(
        USAGE, _extension("2.5.29.15", bytes.fromhex("03020080"), critical=True)
    ),
    "empty purposes": lambda body: body.with_extension(PURPOSES, _extension("2.5.29.37", tlv(0x30))),
    "any purpose": lambda body: body.with_extension(
        PURPOSES, _extension("2.5.29.37", tlv(0x30, bytes.fromhex("0604551d2500")))
    ),
    "subject key id of another": lambda body: body.with_extension(
        SUBJECT_KEY, _extension("2.5.29.14", tlv(4, key("mallory").public.pid[:20]))
    ),
    "issuer key id with a serial": lambda body: body.with_extension(
        ISSUER_KEY,
        _extension("2.5.29.35", tlv(0x30, tlv(0x80, key("root").public.pid[:20]), tlv(0x82, b"\1"))),
    ),
    "issuer key id short": lambda body: body.with_extension(
        ISSUER_KEY, _extension("2.5.29.35", tlv(0x30, tlv(0x80, key("root").public.pid[:19])))
    ),
    "two URIs": lambda body: body.with_extension(NAMES, _names(tlv(0x86, URI), tlv(0x86, URI + b"2"))),
    "URI alone": lambda body: body.with_extension(NAMES, _names(tlv(0x86, URI))),
    "URI of another": lambda body: body.with_extension(
        NAMES, _names(tlv(0x86, URI[:-1] + b"0"), tlv(0x82, PEER + b"." + GROUP))
    ),
    "DNS name with NUL": lambda body: body.with_extension(
        NAMES, _names(tlv(0x86, URI), tlv(0x82, PEER + b"\0" + GROUP))
    ),
    "wildcard": lambda body: body.with_extension(NAMES, _names(tlv(0x86, URI), tlv(0x82, b"*." + GROUP))),
    "e-mail beside": lambda body: body.with_extension(
        NAMES, _names(tlv(0x86, URI), tlv(0x82, PEER + b"." + GROUP), tlv(0x81, b"a@b"))
    ),
    "name constraints": lambda body: Body(
        body.fields, [*body.extensions[:CLAIMS], _extension("2.5.29.30", tlv(0x30)), body.extensions[CLAIMS]]
    ),
    "policies": lambda body: Body(
        body.fields,
        [
            *body.extensions[:CLAIMS],
            _extension("2.5.29.32", bytes.fromhex("300830060604551d2000")),
            body.extensions[CLAIMS],
        ],
    ),
    "issuer's unique id": lambda body: Body([*body.fields, tlv(0x81, b"\0x")], body.extensions),
    "something behind the extensions": lambda body: Body(body.fields, body.extensions, behind=b"\5\0"),
    "another algorithm outside": lambda body: Body(
        body.fields, body.extensions, outer_algorithm=NULL_PARAMETERS
    ),
    "SHA-1 outside": lambda body: Body(body.fields, body.extensions, outer_algorithm=SHA1_WITH_RSA),
    **{f"extension {place} missing": functools.partial(_without, place=place) for place in range(7)},
}


def _flip_criticality(extension: bytes) -> bytes:
    oid, *rest = parts(extension)
    return tlv(0x30, oid, rest[-1]) if len(rest) == 2 else tlv(0x30, oid, bytes.fromhex("0101ff"), rest[-1])


def _say_uncritical(extension: bytes) -> bytes:
    oid, *rest = parts(extension)
    return tlv(0x30, oid, bytes.fromhex("010100"), rest[-1])


def refused(der: bytes) -> RemoteProtocolError:
    """The one kind of error that a bad certificate ends in, without a word on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RemoteProtocolError) as caught:
            decode_untrusted_certificate(der)
    return caught.value


def test_surgery_without_a_cut_gives_the_certificate_back():
    for which, der in GOOD.items():
        assert apart(der).signed(SIGNERS.get(which, key("root"))) == der


@pytest.mark.parametrize("case", FIELDS)
def test_hostile_field_is_refused(case):
    place, element = FIELDS[case]
    der = apart(MEMBER).with_field(place, element).signed(key("root"))
    assert der != MEMBER
    refused(der)


@pytest.mark.parametrize("case", EXTENSIONS)
def test_hostile_extension_is_refused(case):
    der = EXTENSIONS[case](apart(MEMBER)).signed(key("root"))
    assert der != MEMBER
    refused(der)


@pytest.mark.parametrize("which", GOOD)
def test_turned_criticality_of_any_extension_is_refused(which):
    body = apart(GOOD[which])
    for place, extension in enumerate(body.extensions):
        for turn in (_flip_criticality, _say_uncritical):
            refused(body.with_extension(place, turn(extension)).signed(SIGNERS.get(which, key("root"))))


@pytest.mark.parametrize("which", GOOD)
@pytest.mark.parametrize("other", GOOD)
def test_constraints_and_usage_of_another_kind_or_level_are_refused(which, other):
    body, foreign = apart(GOOD[which]), apart(GOOD[other])
    for place in (BASIC, USAGE):
        der = body.with_extension(place, foreign.extensions[place]).signed(SIGNERS.get(which, key("root")))
        if der != GOOD[which]:
            refused(der)


def test_claims_of_another_kind_are_refused():
    for which, other in [
        ("admin", "idc"),
        ("admin", "grc"),
        ("idc", "admin"),
        ("grc", "admin"),
        ("idc", "grc"),
    ]:
        body, foreign = apart(GOOD[which]), apart(GOOD[other])
        refused(Body(body.fields, [*body.extensions[:-1], foreign.extensions[-1]]).signed(key("root")))


@pytest.mark.parametrize("which", GOOD)
def test_bytes_before_or_behind_are_refused(which):
    der = GOOD[which]
    for bad in (der + b"\0", der + der, b"\0" + der, der[:-1], der[1:], der[: len(der) // 2], b""):
        refused(bad)


@pytest.mark.parametrize("which", GOOD)
def test_other_forms_of_length_are_refused(which):
    der = GOOD[which]
    indefinite = b"\x30\x80" + inside(der) + b"\0\0"
    long_form = b"\x30\x83\0" + der[2:]
    claimed = b"\x30\x84\x7f\xff\xff\xff" + inside(der)
    for bad in (indefinite, long_form, claimed):
        refused(bad)


def test_signature_with_unused_bits_is_refused():
    at = len(MEMBER) - 65
    assert MEMBER[at] == 0
    refused(MEMBER[:at] + b"\1" + MEMBER[at + 1 :])


def test_oversized_certificate_is_refused_before_it_is_read():
    body = apart(MEMBER).with_field(SUBJECT, common_name(*[PEER] * 2000))
    assert refused(body.signed(key("root"))).fault is Fault.OVER_LIMIT
    assert refused(bytes(CERTIFICATE_BYTES_MAX + 1)).fault is Fault.OVER_LIMIT
    assert refused(bytes(CERTIFICATE_BYTES_MAX)).fault is Fault.MALFORMED


def _accepted_or_refused(der: bytes, signer: str) -> None:
    """Bytes are refused by the one error, or are just what a builder makes, but for the signature."""
    try:
        certificate = decode_untrusted_certificate(der)
    except RemoteProtocolError:
        return
    assert reference(certificate, signer)[:-64] == der[:-64]
    assert certificate.der == der


@pytest.mark.parametrize("which", GOOD)
def test_any_flipped_bit_is_refused_or_lies_in_what_the_signature_protects(which):
    der = GOOD[which]
    signer = SIGNERS.get(which, key("root")).public
    for place, mask in itertools.product(range(len(der)), (1, 0x20)):
        flipped = bytearray(der)
        flipped[place] ^= mask
        try:
            certificate = decode_untrusted_certificate(bytes(flipped))
        except RemoteProtocolError:
            continue
        assert not holds(certificate.check(signer))
        _accepted_or_refused(bytes(flipped), "root")


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_mutated_certificate_is_refused_or_what_a_builder_makes(which, data):
    der = bytearray(GOOD[which])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(der) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete", "copy"])):
            case "set":
                der[place] = data.draw(st.integers(0, 255))
            case "insert":
                der[place:place] = data.draw(st.binary(max_size=4))
            case "delete":
                del der[place : place + data.draw(st.integers(1, 4))]
            case _:
                other = GOOD[data.draw(st.sampled_from(sorted(GOOD)))]
                size = data.draw(st.integers(1, 80))
                der[place : place + size] = other[place : place + size]
    _accepted_or_refused(bytes(der), "root")


@given(st.binary(max_size=2000))
def test_random_bytes_are_refused(der):
    refused(der)
    with pytest.raises(RemoteProtocolError):
        find_untrusted_values(der)


def test_hostile_bytes_cost_no_search_for_a_form():
    """The longest input, made to look right wherever a search could begin anew, is judged in one pass."""
    head = MEMBER[: MEMBER.index(bytes.fromhex("0603551d13"))]
    anchor = bytes.fromhex("0603551d23041830168014")
    for filler in (anchor, bytes.fromhex("06156982edd5d8b891e5da9d8fb3caa9e9dd98f7a15d010401"), b"\0"):
        refused((head + filler * 400)[:CERTIFICATE_BYTES_MAX])
