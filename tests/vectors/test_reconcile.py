"""The golden vectors of reconciliation: sets are digested, and sessions held, as they were then."""

from __future__ import annotations

import json

import pytest

from tests.vectors.reconcile import PATH, build, session

VECTORS = json.loads(PATH.read_text(encoding="utf-8"))


def unhexed(ids):
    """Pairs as the engine takes them."""
    return [(second, bytes.fromhex(identifier)) for second, identifier in ids]


def test_the_file_is_what_the_code_writes():
    assert build() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["sessions"], ids=lambda vector: vector["why"])
def test_session_runs_as_written_and_each_side_sends_what_the_other_lacks(vector):
    one, other = unhexed(vector["initiator"]), unhexed(vector["other"])
    held = session(one, other, vector["short_ids_collide"])
    assert held["messages"] == vector["messages"]
    assert sorted(vector["initiator_sends"]) == sorted(i.hex() for _, i in set(one) - set(other))
    assert sorted(vector["other_sends"]) == sorted(i.hex() for _, i in set(other) - set(one))


def test_every_kind_of_answer_and_a_repetition_occur():
    messages = [bytes.fromhex(message) for vector in VECTORS["sessions"] for message in vector["messages"]]
    first_answers = {message[17 if message[0] & 2 else 1 :][:1] for message in messages}
    assert {bytes([kind]) for kind in (0, 2, 3, 4, 5)} <= first_answers
    assert any(message[0] & 1 for message in messages)
