"""Recovery keys are drawn once, kept by their public halves alone, and read as people keep them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from peerd.control import root_schema
from peerd.groups.recoveries import Recoveries, read_recovery, read_set, set_text
from protocol.authority.root_acts import RecoverySet
from protocol.credentials.keys import PrivateKey
from protocol.credentials.recovery import format_recovery_key
from protocol.errors import RuleError
from protocol.peer_time import Moment
from tests.support.builders import NOW


class Lent:
    """What drawing takes of an environment; its clock stands still."""

    def __init__(self) -> None:
        self.clock = self
        self.draw = random.Random(7).randbytes

    def moment(self) -> Moment:
        return NOW


@pytest.fixture
def recoveries() -> Recoveries:
    lent: Any = Lent()
    return Recoveries(lent)


def later(seconds: int) -> Moment:
    return Moment(NOW.mono_ms + seconds * 1000, NOW.utc_ms + seconds * 1000)


def test_a_token_stands_for_its_keys_for_ten_minutes_and_for_one_use(recoveries: Recoveries) -> None:
    drawn = recoveries.draw(root_schema.RecoveryDraw(keys=3, threshold=2))
    keys, noted = read_recovery([f"# set: {drawn.recovery_set}\n{key}" for key in drawn.recovery_keys])
    found = recoveries.find(drawn.recovery_token, later(599))
    assert found == noted == RecoverySet.of([key.public for key in keys], 2)
    assert drawn.recovery_key == drawn.recovery_keys[0]
    with pytest.raises(RuleError):
        recoveries.find(drawn.recovery_token, later(601))
    recoveries.used(drawn.recovery_token)
    recoveries.used(drawn.recovery_token)  # by two calls at once, of which one was refused
    with pytest.raises(RuleError):
        recoveries.find(drawn.recovery_token, NOW)


def test_no_private_half_stays_here(recoveries: Recoveries) -> None:
    drawn = recoveries.draw(root_schema.RecoveryDraw(keys=2))
    seeds = [key.seed for key in read_recovery([drawn.recovery_keys[0], drawn.recovery_keys[1]])[0]]
    assert len(seeds) == 2
    assert not any(seed.hex() in str(vars(recoveries)) for seed in seeds)
    assert not any(repr(seed) in str(vars(recoveries)) for seed in seeds)


def test_only_so_many_wait_at_once(recoveries: Recoveries) -> None:
    tokens = [recoveries.draw(root_schema.RecoveryDraw()).recovery_token for _ in range(17)]
    with pytest.raises(RuleError):
        recoveries.find(tokens[0], NOW)
    assert recoveries.find(tokens[1], NOW).threshold == 1


@settings(max_examples=30)
@given(st.sets(st.binary(min_size=32, max_size=32), min_size=1, max_size=16), st.data())
def test_the_note_of_a_set_names_it(seeds, data):
    keys = [PrivateKey.from_seed(seed).public for seed in seeds]
    made = RecoverySet.of(keys, data.draw(st.integers(1, len(keys))))
    assert read_set(set_text(made)) == made
    assert read_set(f"# A note.\n  # set: {set_text(made)}\nAAAA-BBBB\n") == made


KEYS = [PrivateKey.from_seed(bytes([number]) * 32) for number in range(3)]
TEXTS = [format_recovery_key(key.seed) for key in KEYS]
TWO = set_text(RecoverySet.of([key.public for key in KEYS], 2))


def test_a_key_alone_is_all_of_its_set():
    keys, noted = read_recovery([TEXTS[0]])
    assert (keys, noted) == ([KEYS[0]], RecoverySet.of([KEYS[0].public], 1))
    assert read_recovery([TEXTS[0], TEXTS[0].lower()])[0] == [KEYS[0]]


def test_several_keys_without_a_note_are_of_a_set_that_is_not_known():
    assert read_recovery(TEXTS[:2])[1] is None
    assert read_recovery([])[0] == []


def test_one_note_is_enough_for_all():
    keys, noted = read_recovery([TEXTS[1], f"# set: {TWO}\n{TEXTS[2]}"])
    assert keys == KEYS[1:]
    assert noted == read_set(TWO)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "2 of", "two of A", TWO.replace("2 of", "4 of"), TWO.replace("2 of", "0 of"), TWO + ",A"),
        *(TWO.replace("2 of", f"{'2' * 5000} of"), "1 of " + "A" * 43, TWO + "," + TWO.split(",")[-1]),
    ],
)
def test_what_names_no_set_is_refused(text):
    with pytest.raises(RuleError) as caught:
        read_set(text)
    assert caught.value.code == "invalid-argument"


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_a_refusal(text):
    for call in (
        lambda: read_set(text),
        lambda: read_recovery([text]),
        lambda: read_recovery([f"# set:{text}"]),
    ):
        with pytest.raises(RuleError):
            call()
