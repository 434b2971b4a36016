"""Histories of a record set, in which every implementation must equal the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, strategies as st

from protocol.records.record import body_hash_of
from protocol.records.record_set import State
from tests.contract.record_model import (
    BODIES,
    Model,
    ask,
    pool,
    records_of,
)

Step = tuple[str, Any]

_VERSIONS = st.integers(0, len(pool()) - 1)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("put"), st.tuples(_VERSIONS, st.sampled_from(State), st.integers(0, 3))),
    st.tuples(st.sampled_from(["discard", "release", "show", "hide"]), _VERSIONS),
    st.tuples(st.just("hold"), st.sampled_from(BODIES)),
    st.tuples(st.just("refresh"), st.tuples(_VERSIONS, st.none() | st.integers(1, 9))),
    st.tuples(st.sampled_from(["flush", "expect"]), st.just(0)),
    st.tuples(st.sampled_from(["commit", "rollback", "crash", "close"]), st.none()),
)


def take_step(store: Any, step: Step) -> None:
    """Do one step of a transaction, if it is one that may be done."""
    verb, told = step
    match verb:
        case "put":
            header, state, at_ms = pool()[told[0]], told[1], told[2]
            found = store.version(header.id)
            if found is None:
                store.put_version(header, state, at_ms)
            elif found.state is not state:
                store.set_state(header.id, state, at_ms)
        case "hold":
            if store.names_body(body_hash_of(told)):
                store.put_body(body_hash_of(told), told)
        case "refresh":
            store.set_refresh(pool()[told[0]].record_id, told[1])
        case "flush":
            store.flush()
        case "expect":
            store.expect(pool())
        case "hide":
            store.hide(pool()[told].record_id)
        case _ if store.version(pool()[told].id) is not None:
            header = pool()[told]
            if verb == "show":
                store.show(header)
            elif verb == "discard":
                store.discard_version(header.id)
            else:
                assert verb == "release"
                store.release_body(header.id)


def histories() -> Callable[..., Any]:
    """A test over histories of up to 30 steps."""
    return given(history=st.lists(STEPS, max_size=30))


def check_history(medium: Any, history: list[Step]) -> None:
    """A set answers as the model does, whatever is done, and however the transactions end."""
    committed, model, store = Model(), Model(), medium.open()
    store.begin()
    for step in history:
        match step[0]:
            case "commit":
                store.commit()
                committed = model.copy()
            case "rollback":
                store.rollback()
                model = committed.copy()
            case "crash" | "close":
                if step[0] == "crash":
                    medium.crash()
                store.close()
                store, model = medium.open(), committed.copy()
            case _:
                take_step(store, step)
                take_step(model, step)
                continue
        assert records_of(store) == records_of(model), step
        store.begin()
    assert records_of(store) == records_of(model)
    store.rollback()
    assert records_of(store) == records_of(committed)
    store.close()


def check_questions(medium: Any, history: list[Step], asked: list[str]) -> None:
    """Each question is answered from inside of a transaction as well, whatever was asked before it."""
    model, store = Model(), medium.open()
    store.begin()
    for step, question in zip(history, asked, strict=False):
        if step[1] is None:
            store.commit()
            store.begin()
        else:
            take_step(store, step)
            take_step(model, step)
        assert ask(store, question) == ask(model, question), (step, question)
    store.close()
