"""The power goes off after each thing that becomes durable: what was begun is carried on, or is not there.

`dying_daemon.py` counts the steps and dies after the one asked for. The same home goes through all of them:
each start finds what the last death left.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from peerd.clock import pause, steady_s
from peerd.control import schema
from peerd.control.client import Client, ClientError
from tests.system.circle import Circle, circle_of
from tests.system.durable import acts_on_disk, check_chains
from tests.system.people import Person, place
from tests.system.writing import Writer, contents, listed, versions

pytestmark = [pytest.mark.system, pytest.mark.slow]

DYING_DAEMON = str(Path(__file__).with_name("dying_daemon.py"))
STEPS_MAX = 60  # far more than any of this takes
STRIDE_CI = 3
SETTLE_S_MAX = 30
WRITES = 16  # more than the steps between two deaths
RECORDS_BEHIND = 40  # that a node lacks when it dies while catching up

Begin = Callable[[Client], object]
Holds = Callable[[Client], bool]


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.fixture
def mortal() -> Iterator[Person]:
    with place() as directory:
        one = Person(directory / "dora")
        yield one
        one.stop()
        print(f"--- the log of {one.name} ---\n{one.log()}")


def starts_to_die_after(steps: int, one: Person) -> None:
    one.program = (DYING_DAEMON, str(steps))
    one.address = ""  # another port: nobody who knew the old one calls and helps out
    one.start()


def survives(one: Person, begin: Begin, settled: Holds) -> bool:
    """Begin something with death armed; whether it settles before the daemon dies."""
    os.kill(one.pid, signal.SIGUSR1)
    try:
        with one.client() as client:
            begin(client)
            wait_until(client, settled)
            return True
    except ClientError:
        one.kill()  # it is dead; this takes note of it
        return False


def wait_until(client: Client, holds: Holds) -> None:
    until = steady_s() + SETTLE_S_MAX
    while not holds(client):
        assert steady_s() < until, "it does not settle"
        pause(0.02)


def die_at_every_step(
    one: Person,
    begin: Callable[[Client], object],
    settled: Holds,
    after: Callable[[Client], None],
    stride: int,
) -> None:
    """`after` checks what the next start finds, and makes room for another attempt."""
    one.start()
    one.identify("dora")
    one.stop()
    for steps in count(1, stride):
        starts_to_die_after(steps, one)
        with one.client() as client:
            after(client)
        if survives(one, begin, settled):
            assert steps > stride, "it died at no step at all"
            return
        assert steps < STEPS_MAX


@pytest.fixture(params=[STRIDE_CI, pytest.param(1, marks=[pytest.mark.long])])
def stride(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


def test_joining_by_name_is_carried_on(circle: Circle, mortal: Person, stride: int) -> None:
    def is_there(client: Client) -> bool:
        seen = client.group(circle.group)
        return seen.credential is not None and seen.synchronized

    def join(client: Client) -> None:
        document = client.identity_document("dora").document
        circle.alice.issue(circle.group, document=document, store=True)
        client.join_group(schema.GroupJoin(group=circle.group, addresses=[circle.alice.address]))

    def gets_there(client: Client) -> None:
        if client.groups().groups:  # else the wish itself was not acknowledged
            wait_until(client, is_there)
            client.delete_group(circle.group)

    die_at_every_step(mortal, join, is_there, gets_there, stride)


def test_joining_by_invitation_is_carried_on_or_can_be_repeated(
    circle: Circle, mortal: Person, stride: int
) -> None:
    def is_there(client: Client) -> bool:
        seen = client.group(circle.group)
        return seen.credential is not None and seen.synchronized

    def join(client: Client) -> None:
        document = client.identity_document("dora").document
        invitation = circle.alice.issue(circle.group, document=document, invitation=True).invitation
        client.join_group(schema.GroupJoin(invitation=invitation))

    def gets_there(client: Client) -> None:
        if client.groups().groups:
            wait_until(client, is_there)
            client.delete_group(circle.group)

    die_at_every_step(mortal, join, is_there, gets_there, stride)


def test_a_group_is_made_whole_or_not_at_all(mortal: Person, stride: int) -> None:
    def create(client: Client) -> None:
        mortal_wish = schema.GroupCreate(
            classifier="pizza",
            recovery_token=client.make_recovery_key().recovery_token,
            recovery_delivered=True,
        )
        client.create_group(mortal_wish)

    def is_whole(client: Client) -> bool:
        (seen,) = client.groups().groups
        changed = client.change_properties(
            seen.group, schema.PropertiesChange(comment="the root key is here")
        )
        return changed.comment != "" and seen.credential is not None and seen.credential.roles == ["admin"]

    def whole_or_not_at_all(client: Client) -> None:
        if client.groups().groups:
            assert is_whole(client)
            client.delete_group("pizza")

    die_at_every_step(mortal, create, is_whole, whole_or_not_at_all, stride)
    (made,) = mortal.ask(lambda client: client.groups()).groups
    mortal.stop()
    check_chains(acts_on_disk(mortal.home, made.group))


def test_records_that_were_acknowledged_are_there(mortal: Person, stride: int) -> None:
    writers: list[Writer] = []

    def write(client: Client) -> None:
        (seen,) = client.groups().groups
        writers.append(Writer(mortal, seen.group, f"r{len(writers)}", random.Random(len(writers))))
        for _ in range(WRITES):
            writers[-1].write_one(client)

    def all_are_there(client: Client) -> bool:
        for writer in writers:
            found = listed(client, writer.group, writer)
            assert writer.fits(contents(client, writer.group, found)), (writer.known, writer.begun)
        return True

    def as_acknowledged(client: Client) -> None:
        if not client.groups().groups:
            mortal.create_group("pizza")
        all_are_there(client)

    die_at_every_step(mortal, write, all_are_there, as_acknowledged, stride)


def test_catching_up_is_carried_on(circle: Circle, mortal: Person, stride: int) -> None:
    writer = Writer(circle.alice, circle.group, "note", random.Random(0))
    seen: dict[str, tuple[str, bool]] = {}
    wanted: dict[str, tuple[str, bool]] = {}

    def connect(client: Client) -> None:
        wish = schema.GroupConnect(addresses=[circle.alice.address], only=True)
        client.connect_group(circle.group, wish)

    def has_all(client: Client) -> bool:
        found = versions(listed(client, circle.group, writer))
        seen.update(found.items() & wanted.items())
        return found == wanted

    def goes_on_and_falls_behind_again(client: Client) -> None:
        if not client.groups().groups:
            document = client.identity_document("dora").document
            circle.alice.issue(circle.group, document=document, store=True)
            client.join_group(schema.GroupJoin(group=circle.group, addresses=[circle.alice.address]))
            wait_until(client, lambda client: client.group(circle.group).synchronized)
        assert seen.items() <= versions(listed(client, circle.group, writer)).items()
        wait_until(client, has_all)
        assert writer.fits(contents(client, circle.group, listed(client, circle.group, writer)))
        client.disconnect_group(circle.group)
        with circle.alice.client() as alice:
            for _ in range(RECORDS_BEHIND):
                writer.write_one(alice)
            wanted.clear()
            wanted.update(versions(listed(alice, circle.group, writer)))
        for record_id in [one for one in seen if seen[one] != wanted.get(one)]:
            del seen[record_id]

    die_at_every_step(mortal, connect, has_all, goes_on_and_falls_behind_again, stride)
