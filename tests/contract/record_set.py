"""What every `RecordSet` does: one suite, run over each implementation by the tests beside it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from protocol.records.record import body_hash_of
from protocol.records.record_set import Version, WantedBody
from tests.contract.record_model import (
    ALL,
    ASIDE,
    BODIES,
    KEPT,
    START_S,
    Model,
    creator_of,
    cred_of,
    pool,
    records_of,
    version,
)


def _first(store: Any) -> None:
    for number, header in enumerate(pool()[:6]):
        store.put_version(header, KEPT if number != 1 else ASIDE, number)
        if header.body_hash is not None:
            store.put_body(
                header.body_hash, dict(zip(map(body_hash_of, BODIES), BODIES, strict=True))[header.body_hash]
            )
    store.show(pool()[0])
    store.show(pool()[4])
    store.set_refresh(pool()[4].record_id, 90)


def _second(store: Any) -> None:
    store.set_state(pool()[0].id, ASIDE, 7)
    store.set_state(pool()[1].id, KEPT, 7)
    store.show(pool()[1])
    store.release_body(pool()[2].id)
    store.discard_version(pool()[5].id)


def _third(store: Any) -> None:
    store.hide(pool()[4].record_id)
    store.discard_version(pool()[1].id)
    store.put_version(pool()[8], KEPT, 8)
    store.show(pool()[8])
    store.set_refresh(pool()[4].record_id, None)


RECORD_WORK: tuple[Callable[[Any], None], ...] = (_first, _second, _third)


def states_of_record_work() -> list[dict[str, Any]]:
    """The state before the work, and after each piece."""
    model = Model()
    states = [records_of(model)]
    for piece in RECORD_WORK:
        piece(model)
        states.append(records_of(model))
    return states


class RecordSetContract:
    """The suite. A child gives the fixture `new_medium` and names what a failed write raises."""

    failure: ClassVar[type[Exception]]

    @pytest.fixture
    def new_medium(self) -> Callable[[], Any]:
        """Makes empty media."""
        raise AssertionError("a child defines it")

    @pytest.fixture
    def medium(self, new_medium):
        return new_medium()

    @pytest.fixture
    def store(self, medium):
        store = medium.open()
        yield store
        store.close()

    @pytest.fixture
    def writing(self, store):
        store.begin()
        return store

    def test_new_set_is_empty(self, store):
        assert records_of(store) == records_of(Model())

    def test_work_leads_through_the_states_of_the_model(self, store):
        for piece, state in zip(RECORD_WORK, states_of_record_work()[1:], strict=True):
            store.begin()
            piece(store)
            assert records_of(store) == state
            store.commit()
            assert records_of(store) == state

    # --- versions

    def test_version_is_found_by_its_id_and_its_record(self, writing):
        one, two, other = version(1), version(1, 5, author="carol"), version(2)
        for header in (one, two, other):
            writing.put_version(header, KEPT, 0)
        assert writing.header(two.id) == two.raw
        assert writing.version(two.id) == Version(
            two.id, two.record_id, creator_of("alice"), creator_of("carol"), cred_of("carol"), two.hlc, KEPT
        )
        assert {found.id for found in writing.versions(one.record_id)} == {one.id, two.id}
        assert (writing.header(b"?" * 32), writing.version(b"?" * 32), writing.versions(b"?" * 16)) == (
            None,
            None,
            [],
        )

    def test_only_kept_versions_are_in_the_replicated_set(self, writing):
        kept, aside = version(1, durable=False), version(2, durable=False)
        writing.put_version(kept, KEPT, 0)
        writing.put_version(aside, ASIDE, 0)
        assert list(writing.load_versions()) == [(START_S, kept.id, False)]
        assert writing.arrived_after(0, ALL) == [(1, kept.id)]
        assert [found.id for found in writing.kept_before(2**62, ALL)] == [kept.id]
        assert [found.id for found in writing.kept_ahead(0, ALL)] == [kept.id]
        assert writing.ids_of(creator_of("alice")) == 1

    def test_versions_are_loaded_by_class_then_by_time(self, writing):
        headers = [version(n, 9 - n, durable=n % 2 == 0) for n in range(1, 5)]
        for header in headers:
            writing.put_version(header, KEPT, 0)
        order = [headers[2], headers[0], headers[3], headers[1]]
        assert list(writing.load_versions()) == [(one.hlc_s, one.id, one.durable) for one in order]

    def test_arrival_numbers_rise_and_are_never_given_again(self, medium, store):
        store.begin()
        for number in (1, 2, 3):
            store.put_version(version(number), KEPT, 0)
        store.set_state(version(1).id, ASIDE, 0)
        store.set_state(version(1).id, KEPT, 0)
        store.discard_version(version(3).id)
        store.commit()
        assert store.arrived_after(0, ALL) == [(2, version(2).id), (4, version(1).id)]
        store.begin()
        store.discard_version(version(1).id)
        store.commit()
        medium.crash()
        again = medium.open()
        assert again.last_arrival() == 4
        again.begin()
        again.put_version(version(4), KEPT, 0)
        assert again.arrived_after(2, 1) == [(5, version(4).id)]
        assert again.arrived_after(5, 1) == []
        again.close()

    def test_expiring_versions_are_found_by_age_up_to_a_bound(self, writing):
        headers = [version(n, n, durable=False) for n in range(5)]
        for header in (*reversed(headers), version(9, 0)):
            writing.put_version(header, KEPT, 0)
        found = writing.kept_before(headers[3].hlc, 2)
        assert [one.id for one in found] == [headers[0].id, headers[1].id]
        assert [one.id for one in writing.kept_before(headers[1].hlc, ALL)] == [headers[0].id]

    def test_versions_ahead_are_found_in_both_classes_largest_first(self, writing):
        headers = [version(n, n, durable=n % 2 == 0) for n in range(5)]
        for header in headers:
            writing.put_version(header, KEPT, 0)
        assert [one.id for one in writing.kept_ahead(headers[1].hlc, 2)] == [headers[4].id, headers[3].id]
        assert [one.id for one in writing.kept_ahead(headers[3].hlc, ALL)] == [headers[4].id]

    def test_what_is_aside_is_weighed_and_goes_by_the_time_of_its_setting_aside(self, writing):
        body = BODIES[0]
        one, two, three = version(1, body=body), version(2), version(3)
        writing.put_version(one, ASIDE, 9)
        writing.put_version(two, ASIDE, 5)
        writing.put_version(three, KEPT, 1)
        assert writing.aside_oldest(ALL) == [(5, two.id), (9, one.id)]
        assert writing.aside_count() == (2, len(one.raw) + len(body) + len(two.raw))
        writing.set_state(two.id, KEPT, 10)
        writing.set_state(three.id, ASIDE, 11)
        writing.release_body(one.id)
        assert writing.aside_oldest(1) == [(9, one.id)]
        assert writing.aside_oldest(ALL) == [(9, one.id), (11, three.id)]
        assert writing.aside_count() == (2, len(one.raw) + len(three.raw))

    def test_records_under_a_grant_are_found_whatever_the_state_of_their_versions(self, writing):
        writing.put_version(version(2, author="carol"), ASIDE, 0)
        writing.put_version(version(1, author="carol"), KEPT, 0)
        writing.put_version(version(1, 1, author="carol"), KEPT, 0)
        writing.put_version(version(3), KEPT, 0)
        found = writing.records_citing(cred_of("carol"))
        assert found == sorted([version(1).record_id, version(2).record_id])
        assert writing.records_citing(b"?" * 32) == []

    # --- bodies

    def test_body_stays_as_long_as_a_version_names_it(self, writing):
        body = BODIES[0]
        name = body_hash_of(body)
        for header, state in ((version(1, body=body), KEPT), (version(2, body=body), ASIDE)):
            writing.put_version(header, state, 0)
        assert (writing.names_body(name), writing.has_body(name), writing.body(name)) == (True, False, None)
        writing.put_body(name, body)
        writing.put_body(name, body)
        assert (writing.has_body(name), writing.body(name)) == (True, body)
        writing.discard_version(version(1, body=body).id)
        assert writing.body(name) == body
        writing.release_body(version(2, body=body).id)
        assert (writing.names_body(name), writing.has_body(name), writing.body(name)) == (False, False, None)
        writing.release_body(version(2, body=body).id)

    def test_body_that_a_newer_version_names_too_is_here_for_it_at_once(self, store):
        body = BODIES[0]
        first, second = version(1, body=body), version(1, 5, body=body)
        store.begin()
        store.put_version(first, KEPT, 0)
        store.put_body(body_hash_of(body), body)
        store.commit()
        store.begin()
        store.put_version(second, KEPT, 0)
        store.show(second)
        assert store.wanted_bodies(b"", ALL) == []
        assert store.bytes_of(creator_of("alice")) == 2 * len(body)
        store.discard_version(first.id)
        store.commit()
        assert store.body(body_hash_of(body)) == body
        assert store.bytes_of(creator_of("alice")) == len(body)

    def test_body_may_come_after_the_versions_of_several_transactions(self, store):
        body = BODIES[0]
        first, second = version(1, body=body), version(2, body=body)
        for header in (first, second):
            store.begin()
            store.put_version(header, KEPT, 0)
            store.show(header)
            if header is first:
                store.commit()
        assert store.wanted_bodies(b"", ALL) == [WantedBody(body_hash_of(body), len(body))]
        store.put_body(body_hash_of(body), body)
        store.commit()
        assert store.wanted_bodies(b"", ALL) == []
        assert store.bytes_of(creator_of("alice")) == 2 * len(body)

    def test_body_stays_with_a_new_version_when_the_older_one_goes(self, store):
        body = BODIES[0]
        old, new = version(1, body=body), version(2, body=body)
        store.begin()
        store.put_version(old, KEPT, 0)
        store.put_body(body_hash_of(body), body)
        store.commit()
        store.begin()
        store.put_version(new, KEPT, 0)
        store.discard_version(old.id)
        assert store.has_body(body_hash_of(body))
        store.put_body(body_hash_of(body), body)
        assert store.bytes_of(creator_of("alice")) == len(body)
        store.commit()
        assert store.body(body_hash_of(body)) == body

    def test_wanted_are_bodies_of_shown_versions_under_the_largest_size_that_is_claimed(self, writing):
        hidden, shown = version(1, body=BODIES[0]), version(2, body=BODIES[1])
        liar = version(3, body=BODIES[1], size=len(BODIES[1]) + 7)
        other = version(4, body=BODIES[2])
        for header in (hidden, shown, liar, other):
            writing.put_version(header, KEPT, 0)
            if header is not hidden:
                writing.show(header)
        wanted = [
            WantedBody(body_hash_of(BODIES[1]), liar.size),
            WantedBody(body_hash_of(BODIES[2]), other.size),
        ]
        wanted.sort(key=lambda one: one.body_hash)
        assert writing.wanted_bodies(b"", ALL) == wanted
        assert writing.wanted_bodies(b"", 1) == wanted[:1]
        assert writing.wanted_bodies(wanted[0].body_hash, ALL) == wanted[1:]
        writing.release_body(other.id)
        writing.put_body(body_hash_of(BODIES[1]), BODIES[1])
        assert writing.wanted_bodies(b"", ALL) == []

    # --- quotas

    def test_ids_and_bytes_count_for_the_creator_whoever_wrote(self, writing):
        body = BODIES[0]
        mine, over, aside = (
            version(1, body=body),
            version(1, 1, author="carol", body=body),
            version(2, body=body),
        )
        for header, state in ((mine, KEPT), (over, KEPT), (aside, ASIDE)):
            writing.put_version(header, state, 0)
        alice = creator_of("alice")
        assert (writing.ids_of(alice), writing.bytes_of(alice)) == (1, 0)
        writing.put_body(body_hash_of(body), body)
        assert (writing.ids_of(alice), writing.bytes_of(alice)) == (1, 2 * len(body))
        assert (writing.ids_of(creator_of("carol")), writing.bytes_of(creator_of("carol"))) == (0, 0)
        writing.set_state(aside.id, KEPT, 0)
        assert (writing.ids_of(alice), writing.bytes_of(alice)) == (2, 3 * len(body))
        writing.set_state(mine.id, ASIDE, 0)
        assert (writing.ids_of(alice), writing.bytes_of(alice)) == (2, 2 * len(body))
        writing.discard_version(over.id)
        assert (writing.ids_of(alice), writing.bytes_of(alice)) == (1, len(body))

    def test_largest_id_is_that_of_a_kept_version_in_either_class(self, writing):
        alice = creator_of("alice")
        expiring, one, two = version(9, durable=False), version(1), version(2)
        theirs = version(9, creator="bob")
        writing.put_version(theirs, KEPT, 0)
        assert writing.largest_id(alice) is None
        writing.put_version(expiring, KEPT, 0)
        assert writing.largest_id(alice) == expiring.record_id
        writing.put_version(two, ASIDE, 0)
        writing.put_version(one, KEPT, 0)
        assert writing.largest_id(alice) == one.record_id
        writing.set_state(two.id, KEPT, 0)
        assert writing.largest_id(alice) == two.record_id

    # --- what is shown

    def test_one_version_of_a_record_is_shown(self, store):
        old, new = version(1, body=BODIES[0]), version(1, 5, record_type="peerd.contact")
        for header in (old, new):
            store.begin()
            store.put_version(header, KEPT, 0)
            store.show(header)
            store.commit()
        assert store.shown(old.record_id) == new.id
        assert (store.shown_of_type("note", b"", ALL), store.wanted_bodies(b"", ALL)) == ([], [])
        store.begin()
        store.show(old)
        assert store.shown(old.record_id) == old.id
        store.hide(old.record_id)
        store.hide(old.record_id)
        assert store.shown(old.record_id) is None
        store.show(new)
        store.discard_version(new.id)
        assert store.shown(old.record_id) is None

    def test_records_of_a_type_come_in_pages(self, writing):
        for number in (3, 1, 2):
            writing.put_version(version(number), KEPT, 0)
            writing.show(version(number))
        ids = [version(number).record_id for number in (1, 2, 3)]
        assert writing.shown_of_type("note", b"", 2) == ids[:2]
        assert writing.shown_of_type("note", ids[1], 2) == ids[2:]
        assert writing.shown_of_type("not", b"", 2) == []

    def test_records_end_at_their_second_the_earliest_first(self, writing):
        headers = [version(n, durable=False, life_s=10 - n) for n in (1, 2, 3)]
        assert writing.next_end() is None
        for header in (*headers, version(4)):
            writing.put_version(header, KEPT, 0)
            writing.show(header)
        assert writing.next_end() == START_S + 7
        assert writing.ended(START_S + 6, ALL) == []
        assert writing.ended(START_S + 8, ALL) == [headers[2].record_id, headers[1].record_id]
        assert writing.ended(START_S + 8, 1) == [headers[2].record_id]
        writing.hide(headers[2].record_id)
        assert writing.next_end() == START_S + 8

    def test_refreshing_is_remembered_until_it_is_ended(self, writing):
        writing.set_refresh(b"b" * 16, 5)
        writing.set_refresh(b"a" * 16, 6)
        writing.set_refresh(b"b" * 16, 7)
        assert writing.refreshes(b"", ALL) == [(b"a" * 16, 6), (b"b" * 16, 7)]
        assert writing.refreshes(b"", 1) == [(b"a" * 16, 6)]
        assert writing.refreshes(b"a" * 16, 1) == [(b"b" * 16, 7)]
        writing.set_refresh(b"a" * 16, None)
        writing.set_refresh(b"c" * 16, None)
        assert writing.refreshes(b"", ALL) == [(b"b" * 16, 7)]

    # --- transactions

    def test_rollback_leaves_nothing(self, store):
        states = states_of_record_work()
        for piece, before in zip(RECORD_WORK, states, strict=False):
            store.begin()
            piece(store)
            store.rollback()
            assert records_of(store) == before
            store.begin()
            piece(store)
            store.commit()

    def test_crash_takes_what_is_not_committed_and_nothing_else(self, medium):
        states = states_of_record_work()
        for piece, before in zip(RECORD_WORK, states, strict=False):
            store = medium.open()
            store.begin()
            piece(store)
            medium.crash()
            store = medium.open()
            assert records_of(store) == before
            store.begin()
            piece(store)
            store.commit()
            store.close()

    def test_acts_and_records_are_one_transaction(self, store):
        store.begin()
        store.put_version(version(1), KEPT, 0)
        store.put(b"e" * 32, b"an element")
        store.note("record-added", 1, b"\x80")
        store.rollback()
        assert (store.version(version(1).id), store.get(b"e" * 32), store.last_event()) == (None, None, 0)

    def test_commit_may_run_on_another_thread(self, medium, store):
        with ThreadPoolExecutor(max_workers=1) as worker:
            for piece, after in zip(RECORD_WORK, states_of_record_work()[1:], strict=True):
                store.begin()
                piece(store)
                worker.submit(store.commit).result()
                assert records_of(store) == after
        medium.crash()
        again = medium.open()
        assert records_of(again) == after
        again.close()

    def test_failure_of_any_write_leaves_all_or_nothing_of_its_transaction(self, new_medium):
        states = states_of_record_work()
        write = 0
        while True:
            write += 1
            medium = new_medium()
            store = medium.open()
            medium.fail_from(write)
            done = 0
            try:
                for piece in RECORD_WORK:
                    store.begin()
                    piece(store)
                    store.commit()
                    done += 1
                store.close()
            except self.failure:
                if done < len(RECORD_WORK):
                    self._check_refuses_everything(store)
                medium.crash()
                medium.heal()
            else:
                break
            again = medium.open()
            found = records_of(again)
            # A write that fails at the very end may still have reached the medium: unknown to its caller.
            assert found in states[done : done + 2], write
            for piece in RECORD_WORK[states.index(found) :]:
                again.begin()
                piece(again)
                again.commit()
            assert records_of(again) == states[-1], write
            again.close()
        assert done == len(RECORD_WORK)
        assert write > len(RECORD_WORK)

    def _check_refuses_everything(self, store: Any) -> None:
        store.rollback()
        header = pool()[0]
        calls: tuple[Callable[[], object], ...] = (
            lambda: list(store.load_versions()),
            lambda: store.header(header.id),
            lambda: store.versions(header.record_id),
            lambda: store.has_body(body_hash_of(BODIES[0])),
            lambda: store.ids_of(header.creator),
            lambda: store.shown(header.record_id),
            lambda: store.next_end(),
            lambda: store.refreshes(b"", 1),
            lambda: store.put_version(header, KEPT, 0),
            lambda: store.show(header),
            lambda: store.hide(header.record_id),
            lambda: store.set_refresh(header.record_id, 1),
        )
        for call in calls:
            with pytest.raises(self.failure):
                call()

    # --- our own mistakes

    @pytest.mark.parametrize(
        "write",
        [
            lambda store: store.put_version(version(2), KEPT, 0),
            lambda store: store.set_state(version(1).id, ASIDE, 0),
            lambda store: store.discard_version(version(1).id),
            lambda store: store.release_body(version(1).id),
            lambda store: store.put_body(body_hash_of(BODIES[0]), BODIES[0]),
            lambda store: store.show(version(1)),
            lambda store: store.hide(version(1).record_id),
            lambda store: store.set_refresh(version(1).record_id, 1),
        ],
    )
    def test_writing_outside_a_transaction_is_our_mistake(self, store, write):
        store.begin()
        store.put_version(version(1, body=BODIES[0]), KEPT, 0)
        store.put_version(version(1), KEPT, 0)
        store.commit()
        before = records_of(store)
        with pytest.raises(AssertionError, match="open transaction"):
            write(store)
        assert records_of(store) == before

    @pytest.mark.parametrize(
        "write, says",
        [
            (lambda store: store.put_version(version(1), ASIDE, 0), "put once"),
            (lambda store: store.set_state(version(1).id, KEPT, 0), "this state already"),
            (lambda store: store.set_state(version(2).id, KEPT, 0), "not here"),
            (lambda store: store.discard_version(version(2).id), "not here"),
            (lambda store: store.release_body(version(2).id), "not here"),
            (lambda store: store.show(version(2)), "not here"),
            (lambda store: store.put_body(body_hash_of(BODIES[0]), BODIES[0]), "no version here"),
            (lambda store: store.put_body(body_hash_of(BODIES[0]), BODIES[1]), "not its hash's"),
        ],
    )
    @pytest.mark.parametrize("committed", [False, True])
    def test_what_cannot_be_is_our_mistake(self, store, write, says, committed):
        store.begin()
        store.put_version(version(1), KEPT, 0)
        if committed:
            store.commit()
            store.begin()
        with pytest.raises(AssertionError, match=says):
            write(store)
