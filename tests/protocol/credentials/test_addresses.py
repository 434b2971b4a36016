"""Addresses: what can be dialled anywhere passes, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from protocol.credentials.addresses import check_address
from protocol.errors import RuleError
from protocol.limits import ADDRESS_CHARACTERS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.7:3587",
        "127.0.0.1:1",
        "[2001:db8::1]:3587",
        "[::]:65535",
        "[::ffff:192.0.2.7]:3587",
        "localhost:3587",
        "Node-1.example.org:443",
        "_peerd._tcp.example:443",
        "7.example:443",
        "xn--bcher-kva.example:443",
        "a" * 63 + ".example:443",
    ],
)
def test_what_can_be_dialled_passes_unchanged(text):
    assert check_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":3587",
        "192.0.2.7",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:65536",
        "192.0.2.7:99999",
        "192.0.2.7:03587",
        "192.0.2.7:+1",
        "192.0.2.7:1e3",
        "192.0.2.7:\uff11",
        "192.0.2.7:3587 ",
        " 192.0.2.7:3587",
        "192.0.2.7:3587\n",
        "192.0.2.256:3587",
        "192.0.2:3587",
        "192.0.2.07:3587",
        "1:3587",
        "2001:db8::1:3587",
        "2001:db8::1",
        "[2001:db8::1]",
        "[2001:db8::1]3587",
        "[2001:db8::g]:3587",
        "[fe80::1%eth0]:3587",
        "[192.0.2.7]:3587",
        "[]:3587",
        "[[::1]]:3587",
        "user@host:3587",
        "http://host:3587",
        "host/path:3587",
        "host..example:3587",
        ".example:3587",
        "example.:3587",
        "-a.example:3587",
        "a-.example:3587",
        "b\u00fccher.example:3587",
        "a" * 64 + ".example:443",
        "a." * 127 + "aa:1",
        "a" * 300 + ":1",
        "host\0:3587",
    ],
)
def test_what_cannot_be_dialled_anywhere_is_refused(text):
    with pytest.raises(RuleError) as caught:
        check_address(text)
    assert caught.value.code == "invalid-argument"
    assert caught.value.hint
    assert caught.value.detail.isprintable()


def test_address_of_255_characters_fits_and_of_256_does_not():
    name = ".".join(["a" * 49] * 5)
    assert len(name + ".bbb:1") == ADDRESS_CHARACTERS_MAX
    assert check_address(name + ".bbb:1")
    with pytest.raises(RuleError):
        check_address(name + ".bbb:12")


@given(st.text(max_size=300) | st.text("0123456789abcdef.:[]-", max_size=60))
def test_any_text_is_an_address_or_the_one_error(text):
    code = "invalid-argument"
    try:
        assert check_address(text) == text
        assert int(text.rpartition(":")[2]) in range(1, 65_536)
    except RuleError as error:
        code = error.code
    assert code == "invalid-argument"
