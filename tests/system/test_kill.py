"""kill -9 at any moment: what was acknowledged is there, nothing forks, and what was begun is carried on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from peerd.control import schema
from peerd.control.client import Client, ClientError
from tests.system.circle import Circle, circle_of
from tests.system.durable import Stranger, acts_on_disk, check_chains, fetch, stranger
from tests.system.people import Person, people

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROUNDS_CI = 5
ROUNDS_LONG = 50
BATCH = 16


@dataclass
class Writer:
    """Issues as fast as the daemon answers, and remembers what it acknowledged."""

    circle: Circle
    round: int
    acknowledged: dict[str, Stranger] = field(default_factory=dict)
    batches: list[list[Stranger]] = field(default_factory=list)
    answered: threading.Event = field(default_factory=threading.Event)

    def one_by_one(self, client: Client) -> None:
        for number in count():
            subject = stranger(1, self.round, *divmod(number, 256))
            wish = schema.CredentialIssue(document=subject.document, store=True)
            issued = client.issue(self.circle.group, wish)
            self._note(issued, subject)

    def in_batches(self, client: Client) -> None:
        for number in count():
            subjects = [stranger(2, self.round, *divmod(number, 256), place) for place in range(BATCH)]
            self.batches.append(subjects)
            wishes = [schema.CredentialIssue(document=one.document, store=True) for one in subjects]
            issued = client.issue_batch(self.circle.group, schema.CredentialBatch(issues=wishes)).issued
            for one, subject in zip(issued, subjects, strict=True):
                self._note(one, subject)

    def _note(self, issued: schema.CredentialIssued, subject: Stranger) -> None:
        self.acknowledged[issued.credential.grant_id] = subject
        self.answered.set()


def until_it_dies(node: Person, work: Callable[[Client], None]) -> threading.Thread:
    """Work on a connection of its own until the daemon is gone."""

    def run() -> None:
        with node.client() as client, suppress(ClientError):
            work(client)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def kill_while_issuing(circle: Circle, writer: Writer, chance: random.Random) -> None:
    threads = [until_it_dies(circle.alice, work) for work in (writer.one_by_one, writer.in_batches)]
    assert writer.answered.wait(20)
    killer = threading.Timer(chance.uniform(0, 0.4), circle.alice.kill)
    killer.start()
    for thread in (killer, *threads):
        thread.join()


def check_all_acknowledged(circle: Circle, writer: Writer, chance: random.Random) -> None:
    circle.bob.wait_group(
        circle.group, lambda seen: seen.digest == circle.alice.group(circle.group).digest, wait_s=60
    )
    for person in (circle.alice, circle.bob):
        held = list(person.ask(lambda client: list(client.all_credentials(circle.group))))
        assert writer.acknowledged.keys() <= {one.grant_id for one in held}
        assert all(one.held for one in held if one.grant_id in writer.acknowledged)
        names = {one.subject.partition(".")[0] for one in held}
        for batch in writer.batches:
            assert len({one.key.public.authority in names for one in batch}) == 1, "a batch is all or nothing"
    for grant_id in chance.sample(sorted(writer.acknowledged), min(3, len(writer.acknowledged))):
        picked_up = fetch(circle.bob.address, circle.group, writer.acknowledged[grant_id].key)
        assert picked_up is not None
        assert picked_up.leaf.act_id.hex() == grant_id


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of("carol") as made:
        yield made


def kill_round(circle: Circle, seed: int) -> None:
    chance = random.Random(seed)
    writer = Writer(circle, seed)
    kill_while_issuing(circle, writer, chance)
    check_chains(acts_on_disk(circle.alice.home, circle.group))
    circle.alice.start()
    circle.bob.connect(circle.group, [circle.alice.address])  # at once, however often it has failed before
    check_all_acknowledged(circle, writer, chance)


@pytest.mark.parametrize("seed", range(ROUNDS_CI))
def test_no_acknowledged_credential_is_lost_by_a_kill(circle: Circle, seed: int) -> None:
    kill_round(circle, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(ROUNDS_CI, ROUNDS_LONG))
def test_no_acknowledged_credential_is_lost_by_a_kill_many_times(circle: Circle, seed: int) -> None:
    kill_round(circle, seed)


def test_a_subject_that_is_killed_while_it_adopts_adopts_later(circle: Circle) -> None:
    chance = random.Random(0)
    circle.admit("carol")
    for _ in range(ROUNDS_CI):
        killer = threading.Timer(chance.uniform(0, 0.06), circle.carol.kill)
        killer.start()
        renewed = circle.alice.issue(circle.group, subject="carol", store=True).credential
        killer.join()
        circle.carol.start()
        circle.carol.wait_group(circle.group, partial(goes_by, renewed.grant_id))
    circle.carol.stop()
    check_chains(acts_on_disk(circle.carol.home, circle.group))


def goes_by(grant_id: str, seen: schema.Group) -> bool:
    return seen.credential is not None and seen.credential.grant_id == grant_id


def test_a_joiner_that_is_killed_at_any_moment_gets_there(circle: Circle) -> None:
    chance = random.Random(0)
    with people("dora") as (dora,):
        _, document = dora.identify("dora")
        grant_id = circle.alice.issue(circle.group, document=document, store=True).credential.grant_id
        for _ in range(ROUNDS_CI):
            dora.join(group=circle.group, addresses=[circle.alice.address])
            killer = threading.Timer(chance.uniform(0, 0.12), dora.kill)
            killer.start()
            killer.join()
            dora.start()
            dora.wait_group(circle.group, lambda seen: goes_by(grant_id, seen) and seen.synchronized)
            dora.ask(lambda client: client.delete_group(circle.group))
