"""`--wait` comes back with the credential, or after the time that was given; nothing here really waits."""

from __future__ import annotations

import msgspec
import pytest

from peerd.cli import wait, waiting
from peerd.control import schema
from tests.peerd.cli.fake_daemon import PIZZA, group, neighbor

JOIN = ("group", "join", "--group", PIZZA, "--address", "a:1", "--wait")
AWAITED = group(state="joining", gid=None, credential=None, neighbors=[])


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pauses: list[float] = []

    def steady_s(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        assert seconds >= 0
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(waiting, "steady_s", fake.steady_s)
    monkeypatch.setattr(waiting, "pause", fake.pause)
    return fake


def test_it_looks_until_the_credential_is_there(peerd, daemon, time: FakeTime) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    linked = group(state="joining", gid=None, credential=None, neighbors=[neighbor()])
    daemon.will_answer("GET", f"groups/{PIZZA}", AWAITED, AWAITED, linked, group())
    outcome = peerd(*JOIN)
    assert outcome.exit_code == 0
    assert "admin" in outcome.stdout
    assert len(time.pauses) == 3
    assert outcome.stderr.splitlines() == [
        "waiting for the credential; 0 neighbors",
        "waiting for the credential; 1 neighbor",
    ]


def test_with_json_nothing_but_a_problem_goes_to_standard_error(peerd, daemon, time: FakeTime) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    daemon.will_answer("GET", f"groups/{PIZZA}", AWAITED, AWAITED, group())
    outcome = peerd(*JOIN, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.json["credential"]["roles"] == ["admin"]
    daemon.will_answer("GET", f"groups/{PIZZA}", AWAITED)
    outcome = peerd(*JOIN, "--json", "--timeout", "1")
    assert outcome.exit_code == 7
    assert msgspec.json.decode(outcome.stderr)["type"] == "timed-out"


def test_a_credential_that_is_there_already_needs_no_waiting(peerd, daemon, time: FakeTime) -> None:
    daemon.will_answer("POST", "groups/join", group())
    daemon.will_answer("GET", f"groups/{PIZZA}", group())
    outcome = peerd(*JOIN)
    assert (outcome.exit_code, outcome.stderr, time.pauses) == (0, "", [])


@pytest.mark.parametrize("timeout_s", [0, 1, 30])
def test_it_gives_up_after_the_time_given_with_an_exit_code_of_its_own(
    peerd, daemon, time: FakeTime, timeout_s: int
) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    daemon.will_answer("GET", f"groups/{PIZZA}", AWAITED)
    outcome = peerd(*JOIN, "--timeout", str(timeout_s))
    assert outcome.exit_code == 7
    assert time.now_s == pytest.approx(1000 + timeout_s)
    assert f"within {timeout_s} s" in outcome.stderr
    assert f"peerd group show {PIZZA}" in outcome.stderr


def test_it_looks_less_often_the_longer_it_takes(peerd, daemon, time: FakeTime) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    daemon.will_answer("GET", f"groups/{PIZZA}", AWAITED)
    peerd(*JOIN, "--timeout", "10")
    assert time.pauses[:-1] == sorted(time.pauses[:-1])
    assert max(time.pauses) <= 0.5


def test_a_terminal_gets_one_line_that_rewrites_itself(
    peerd, daemon, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    daemon.will_answer("GET", f"groups/{PIZZA}", *[AWAITED] * 8, group())
    monkeypatch.setattr(waiting, "errors_go_to_terminal", lambda: True)
    outcome = peerd(*JOIN)
    assert outcome.stderr.count("\n") == 1
    assert "\rwaiting for the credential; 0 neighbors, 1 s" in outcome.stderr


def test_a_daemon_that_goes_away_ends_the_waiting(peerd, daemon, time: FakeTime) -> None:
    daemon.will_answer("POST", "groups/join", AWAITED)
    daemon.will_refuse("GET", f"groups/{PIZZA}", "group-not-found")
    assert peerd(*JOIN).exit_code == 4


# --- wait synchronized --------------------------------------------------------------------------------------

BEHIND = group(synchronized=False)


def progress(received: int) -> schema.Group:
    return group(synchronized=False, synchronizing=schema.Progress(received=received, expected=900))


@pytest.fixture
def wait_time(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    monkeypatch.setattr(wait, "steady_s", time.steady_s)
    monkeypatch.setattr(wait, "pause", time.pause)
    return time


def test_catching_up_is_told_as_it_goes_on(peerd, daemon, wait_time: FakeTime) -> None:
    looks = (BEHIND, progress(1), progress(1), progress(600), group())
    daemon.will_answer("GET", "groups/pizza", *looks)
    outcome = peerd("wait", "synchronized", "pizza")
    assert outcome.exit_code == 0
    assert outcome.stderr.splitlines() == [
        "waiting to be synchronized; 1 neighbor",
        "catching up: 1 of 900 received",
        "catching up: 600 of 900 received",
    ]
    daemon.will_answer("GET", "groups/pizza", *looks)
    assert peerd("wait", "synchronized", "pizza", "--json").stderr == ""


def test_waiting_to_be_synchronized_ends_with_the_time_given(peerd, daemon, wait_time: FakeTime) -> None:
    daemon.will_answer("GET", "groups/pizza", BEHIND)
    outcome = peerd("wait", "synchronized", "pizza", "--timeout", "2", "--json")
    assert outcome.exit_code == 7
    assert outcome.problem["type"] == "timed-out"


def test_a_status_shows_how_far_a_node_has_come(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups", schema.Groups(groups=[progress(600)]))
    assert "600 of 900" in peerd("group", "list").stdout
    daemon.will_answer("GET", "groups/pizza", progress(600))
    shown = peerd("group", "show", "pizza").stdout
    assert "600 of 900" in shown
    assert "7 versions" in shown
