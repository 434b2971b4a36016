from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from peerd.transport.network import TCP, join_address, split_address
from protocol.errors import RuleError


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:3587", ("127.0.0.1", 3587)),
        ("[2001:db8::1]:3587", ("2001:db8::1", 3587)),
        ("node.example.org:0", ("node.example.org", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_an_address_is_split_and_joined_without_loss(address, parts):
    assert split_address(address) == parts
    assert join_address(*parts) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":3587",
        "[]:3587",
        "localhost",
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "localhost:+1",
        "localhost: 1",
        "localhost:000001",
        "localhost:٣٥",
        "2001:db8::1:3587",
        "[2001:db8::1]",
        "[2001:db8::1",
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(address):
    with pytest.raises(RuleError) as caught:
        split_address(address)
    assert caught.value.code == "invalid-argument"
    assert "HOST:PORT" in caught.value.hint


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text):
    try:
        host, port = split_address(text)
    except RuleError:
        return
    assert host
    assert 0 <= port <= 65_535


async def test_a_socket_says_where_it_listens_and_who_calls():
    listeners = await TCP.listen("127.0.0.1", 0)
    address = TCP.address_of(listeners[0])
    assert split_address(address)[0] == "127.0.0.1"
    near = await TCP.connect(*split_address(address))
    far = await listeners[0].accept()
    assert TCP.caller_of(far)[0] == "127.0.0.1"
    for resource in (near, far, *listeners):
        await resource.aclose()
