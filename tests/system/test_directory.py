"""Who is gone is not missed: nodes find one another by the contact records in the group's database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from peerd.clock import pause, steady_s
from peerd.control.record_schema import RecordAdd
from protocol.limits import LINKS_TARGET
from protocol.records.reserved import CONTACT_TYPE
from tests.system.circle import Circle, circle_of
from tests.system.people import Person

pytestmark = [pytest.mark.system, pytest.mark.slow]

OTHERS = ("bob", "carol", "dora", "emil", "fay", "gus", "hal")
WAIT_S_MAX = 90


@pytest.fixture
def three() -> Iterator[Circle]:
    with circle_of("carol") as made:
        yield made


def wait_until(holds: Callable[[], bool]) -> None:
    until = steady_s() + WAIT_S_MAX
    while not holds():
        assert steady_s() < until
        pause(0.1)


def contacts(person: Person, group: str) -> int:
    """How many contact records a node holds."""
    return person.ask(lambda client: len(list(client.all_records(group, CONTACT_TYPE))))


def reached_from(start: Person, cast: Sequence[Person], group: str) -> set[str]:
    """The names of those to whom a chain of links leads."""
    seen = {person.name: person.group(group) for person in cast}
    names = {one.node_id: name for name, one in seen.items()}
    reached, coming = {start.name}, [start.name]
    while coming:
        near = {names[one.node_id] for one in seen[coming.pop()].neighbors if one.node_id in names}
        coming += sorted(near - reached)
        reached |= near
    return reached


def test_a_group_stays_together_without_the_node_that_all_joined_at() -> None:
    with circle_of(*OTHERS[1:]) as circle:
        for name in OTHERS[1:]:
            circle.alice.issue(circle.group, document=circle.text_of(name), store=True)
            circle.cast[name].join(group=circle.group, addresses=[circle.alice.address])
        left = [circle.cast[name] for name in OTHERS]
        wait_until(lambda: all(contacts(one, circle.group) == 1 + len(OTHERS) for one in left))
        circle.alice.kill()
        wait_until(
            lambda: (
                all(len(one.group(circle.group).neighbors) >= LINKS_TARGET for one in left)
                and reached_from(left[0], left, circle.group) == set(OTHERS)
            )
        )
        wish = RecordAdd(record_type="note", data="YQ")
        note = circle.hal.ask(lambda client: client.add_record(circle.group, wish))
        wait_until(lambda: all(note.record_id in notes(one, circle.group) for one in left))


def notes(person: Person, group: str) -> set[str]:
    """The notes that a node shows."""
    return person.ask(lambda client: {one.record_id for one in client.all_records(group, "note")})


@pytest.mark.parametrize("restarted", [False, True], ids=["waiting", "restarted"])
def test_two_who_never_were_linked_find_each_other_by_a_contact_record(
    three: Circle, restarted: bool
) -> None:
    wait_until(lambda: contacts(three.alice, three.group) == 2)
    three.bob.stop()
    three.admit("carol")
    wait_until(lambda: contacts(three.carol, three.group) == 3)
    three.alice.kill()
    if restarted:
        three.carol.stop()
    three.bob.start()
    assert three.bob.group(three.group).neighbors == []  # he has heard of alice alone
    if restarted:
        three.carol.start()
    wait_until(lambda: reached_from(three.bob, (three.bob, three.carol), three.group) == {"bob", "carol"})
