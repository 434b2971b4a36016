"""What a daemon goes on with after a restart, whoever else is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.circle import Circle, circle_of

pytestmark = [pytest.mark.system, pytest.mark.slow]

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def circle() -> Iterator[Circle]:
    with circle_of() as made:
        yield made


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_node_that_was_only_ever_called_calls_its_neighbors_when_it_is_back(
    circle: Circle, end: str
) -> None:
    assert not any(one.outgoing for one in circle.alice.group(circle.group).neighbors)
    getattr(circle.alice, end)()
    circle.bob.connect(circle.group, [NOWHERE], only=True)  # bob will not call
    circle.alice.start()
    circle.alice.wait_group(circle.group, lambda seen: seen.synchronized)
    assert [one.outgoing for one in circle.alice.group(circle.group).neighbors] == [True]


def test_links_that_were_closed_by_hand_stay_closed(circle: Circle) -> None:
    circle.bob.ask(lambda client: client.disconnect_group(circle.group))
    circle.bob.kill()
    circle.bob.start()
    seen = circle.bob.group(circle.group)
    assert (seen.connected, seen.neighbors) == (False, [])
    circle.bob.connect(circle.group, [])
    circle.bob.wait_group(circle.group, lambda seen: seen.synchronized)


def test_the_event_log_goes_on_and_no_event_is_told_twice(circle: Circle) -> None:
    def events(since: str) -> list[tuple[str, str]]:
        with circle.bob.client() as client:
            return [(one.cursor, one.kind) for one in client.events(since=since, follow=False)]

    before = events("start")
    circle.bob.kill()
    renewed = circle.alice.issue(circle.group, subject="bob", store=True).credential
    circle.bob.start()
    circle.bob.adopted_at(renewed.grant_id)
    after = events("start")
    assert after[: len(before)] == before
    assert "credential-adopted" in [kind for _, kind in events(before[-1][0])]
    assert not {cursor for cursor, _ in events(before[-1][0])} & {cursor for cursor, _ in before}
