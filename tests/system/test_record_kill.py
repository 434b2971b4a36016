"""kill -9 at any moment under writers of records: what was acknowledged is there, and reaches everybody.

The number of a case is its seed: it decides who dies, when, and what is written.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from peerd.clock import pause, steady_s
from peerd.control.client import ApiError, Client
from peerd.control.record_schema import Record
from tests.system.circle import Circle, circle_of
from tests.system.people import Person, people
from tests.system.writing import GONE, Writer, contents, listed, versions

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUNDS_CI = 20
ROUNDS_LONG = 200
WRITERS_EACH = 2
BEFORE_THE_KILL_S_MAX = 0.3
SPREAD_S_MAX = 60
NAMES = ("alice", "bob", "carol")


def kill_while_writing(circle: Circle, victim: Person, seed: int) -> list[Writer]:
    """All write, on all nodes; one daemon dies, then the others stop."""
    over = threading.Event()
    writers = [
        Writer(
            circle.cast[name],
            circle.group,
            f"r{seed}.{name}.{number}",
            random.Random(f"{seed} {name} {number}"),
            over,
        )
        for name in NAMES
        for number in range(WRITERS_EACH)
    ]
    threads = [threading.Thread(target=writer.write) for writer in writers]
    for thread in threads:
        thread.start()
    for writer in writers:
        assert writer.answered.wait(SPREAD_S_MAX)
    pause(random.Random(seed).uniform(0, BEFORE_THE_KILL_S_MAX))
    victim.kill()
    over.set()
    for thread in threads:
        thread.join()
    for writer in writers:
        assert writer.wrong == []
        assert writer.begun is None or writer.node is victim
    return writers


def check_the_same_everywhere(circle: Circle, writer: Writer) -> None:
    """Wait until all nodes show what the writer's own node shows, to the byte."""
    with writer.node.client() as client:
        own = listed(client, circle.group, writer)
        assert writer.fits(contents(client, circle.group, own)), (writer.known, writer.begun)
        assert wrong_words(client, writer) == []
    for person in circle.cast.values():
        with person.client() as client:
            wait_for_versions(client, circle.group, writer, own)
            assert writer.fits(contents(client, circle.group, own))


def wait_for_versions(client: Client, group: str, writer: Writer, wanted: dict[str, Record]) -> None:
    """Wait for all that is there, with its data, and for the word of all that is not there any more."""
    whole = {one: (version, True) for one, (version, _) in versions(wanted).items()}
    until = steady_s() + SPREAD_S_MAX
    while wrong := differences(client, group, writer, whole):
        if steady_s() >= until:
            seen = client.group(group)
            linked = [f"{one.peer_name[-8:]} since {one.since:%H:%M:%S}" for one in seen.neighbors]
            state = f"{seen.records} records, synchronized: {seen.synchronized}, neighbors: {linked}"
            raise AssertionError("\n".join([writer.record_type, *wrong, state]))
        pause(0.02)


def differences(client: Client, group: str, writer: Writer, whole: dict[str, tuple[str, bool]]) -> list[str]:
    """What a node shows otherwise than it should: another version or none, one without its data, one that is
    gone; with all that right, what it says of deleted records.
    """
    found = versions(listed(client, group, writer))
    wrong = [
        f"{one}: (version, has data) is {found.get(one)}, to be {whole.get(one)}"
        for one in {**whole, **found}
        if found.get(one) != whole.get(one)
    ]
    return wrong or wrong_words(client, writer)


def wrong_words(client: Client, writer: Writer) -> list[str]:
    """What is said of deleted records, where that is not that they were deleted."""
    gone = [record_id for record_id, data in writer.known.items() if data is GONE]
    words = {record_id: refusal(client, writer.group, record_id) for record_id in gone}
    return [f"{one}: refused as {word}" for one, word in words.items() if word != "record-deleted"]


def refusal(client: Client, group: str, record_id: str) -> str:
    """The slug with which reading a record is refused."""
    with pytest.raises(ApiError) as caught:
        client.record(group, record_id)
    return caught.value.slug


@dataclass
class Story:
    """The circle, and what was written in earlier rounds."""

    circle: Circle
    earlier: list[Writer] = field(default_factory=list)


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with circle_of("carol") as made:
        made.admit("carol")
        yield Story(made)


def kill_round(story: Story, seed: int) -> None:
    circle, chance = story.circle, random.Random(seed)
    victim = circle.cast[chance.choice(NAMES)]
    print(f"seed {seed}: {victim.name} dies")
    writers = kill_while_writing(circle, victim, seed)
    victim.start()
    for writer in writers:
        check_the_same_everywhere(circle, writer)
    if story.earlier:
        check_the_same_everywhere(circle, chance.choice(story.earlier))
    story.earlier += writers


@pytest.mark.parametrize("seed", range(ROUNDS_CI))
def test_no_acknowledged_record_is_lost_by_a_kill(story: Story, seed: int) -> None:
    kill_round(story, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(ROUNDS_CI, ROUNDS_LONG))
def test_no_acknowledged_record_is_lost_by_a_kill_many_times(story: Story, seed: int) -> None:
    kill_round(story, seed)


# --- a node that has nothing yet ----------------------------------------------------------------------------

CATCH_UP_RECORDS = 600
CATCH_UP_KILLS = 4


def test_an_empty_node_that_is_killed_while_it_catches_up_goes_on_where_it_was() -> None:
    chance = random.Random(0)
    with circle_of() as circle, people("dora") as (dora,):
        writer = Writer(circle.alice, circle.group, "note", chance)
        with circle.alice.client() as client:
            for _ in range(CATCH_UP_RECORDS):
                writer.write_one(client)
            wanted = listed(client, circle.group, writer)
        _, document = dora.identify("dora")
        circle.alice.issue(circle.group, document=document, store=True)
        dora.join(group=circle.group, addresses=[circle.alice.address])
        seen = []
        for target in sorted(chance.randrange(len(wanted)) for _ in range(CATCH_UP_KILLS)):
            seen.append(kill_at(dora, circle.group, writer, target))
            dora.start()
            with dora.client() as client:
                assert seen[-1].items() <= versions(listed(client, circle.group, writer)).items()
        assert any(0 < len(one) < len(wanted) for one in seen), [len(one) for one in seen]
        with dora.client() as client:
            wait_for_versions(client, circle.group, writer, wanted)
            assert writer.fits(contents(client, circle.group, wanted))


def kill_at(node: Person, group: str, writer: Writer, target: int) -> dict[str, tuple[str, bool]]:
    """Kill a node that catches up once it has so many versions; returns what records it had shown."""
    until = steady_s() + SPREAD_S_MAX
    with node.client() as client:
        while client.group(group).records < target:
            assert steady_s() < until
        seen = versions(listed(client, group, writer))
    node.kill()
    return {one: shown for one, shown in seen.items() if shown[1]}
