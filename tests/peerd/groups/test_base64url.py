"""One text for all bytes, and none besides."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from peerd.groups.base64url import read_base64url, write_base64url


@given(st.binary(max_size=64))
def test_what_is_written_is_read(data):
    text = write_base64url(data)
    assert read_base64url(text) == data
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text", ["Y", "YR", "YQ=", "YQ==", "Y Q", "YQ\n", "YQ!!", "Pz8/", "Pj4+", "YQé", "YQ\x00", "\ud800"]
)
def test_a_text_in_any_other_form_is_none(text):
    assert read_base64url(text) is None


@given(st.text(max_size=40))
def test_any_text_stands_for_bytes_in_one_way_or_for_none(text):
    data = read_base64url(text)
    assert data is None or write_base64url(data) == text
