from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from peerd.errors import NotReady, StoreError, StoreFull
from protocol.errors import RuleError
from protocol.limits import CRANK_EVENTS_MAX, INBOX_EVENTS_MAX
from protocol.machines.events import Disconnect, LinkDown, Send, Tick
from tests.peerd.gossip.scripted import SAID, Stage, raising


async def stopped(nursery: trio.Nursery) -> None:
    """Let everything happen, then end what runs."""
    await trio.testing.wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()


# --- commit, then speak -------------------------------------------------------------------------------------


async def test_nothing_is_said_before_it_is_durable(autojump_clock):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        assert await stage.runner.submit(LinkDown(1)) == 1
        assert stage.order() == ["begin", "handle", "commit", "perform"]
        assert stage.performed[0] == Send(1, SAID)
        await stopped(nursery)


async def test_what_is_held_back_is_written_before_a_thread_commits(autojump_clock, monkeypatch):
    where: list[str] = []

    async def elsewhere(work: Callable[[], Any]) -> Any:
        where.append("thread")
        return work()

    stage = Stage(elsewhere)
    monkeypatch.setattr(stage.store, "flush", lambda: where.append("flush"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stage.runner.submit(Disconnect())
        await stopped(nursery)
    assert where == ["flush", "thread"]


async def test_what_waits_is_one_transaction(autojump_clock):
    stage = Stage()
    for number in range(1, 6):
        await stage.runner.post(LinkDown(number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stopped(nursery)
    assert stage.order() == ["begin", *["handle"] * 5, "commit", "perform"]


async def test_a_transaction_has_a_bound(autojump_clock):
    stage = Stage()
    for number in range(100, 100 + 2 * CRANK_EVENTS_MAX):
        await stage.runner.post(LinkDown(number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stopped(nursery)
    assert stage.order().count("commit") == 2
    assert len(stage.machine.handled) == 2 * CRANK_EVENTS_MAX


async def test_a_long_turn_lets_other_tasks_go_on_between_its_events(autojump_clock, monkeypatch):
    stage = Stage()
    handle, seen = stage.machine.handle, []

    def slow(*arguments: Any) -> Any:
        autojump_clock.jump(0.02)
        return handle(*arguments)

    async def look() -> None:
        while stage.order().count("handle") < 3:
            seen.append((stage.order().count("handle"), stage.order().count("commit")))
            await trio.lowlevel.checkpoint()

    monkeypatch.setattr(stage.machine, "handle", slow)
    for number in range(1, 4):
        await stage.runner.post(LinkDown(number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(look)
        await stopped(nursery)
    assert {(1, 0), (2, 0)} & set(seen)  # which of them, the order of tasks decides
    assert stage.order() == ["begin", *["handle"] * 3, "commit", "perform"]


async def test_a_command_is_answered_when_its_outcome_is_durable(autojump_clock):
    held = trio.Event()

    async def slow(work: Callable[[], Any]) -> Any:
        await held.wait()
        return work()

    stage = Stage(slow)
    answers: list[object] = []

    async def command() -> None:
        answers.append(await stage.runner.submit(Disconnect()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.start_soon(command)
        await trio.testing.wait_all_tasks_blocked()
        assert (stage.order(), answers) == (["begin", "handle"], [])
        held.set()
        await stopped(nursery)
    assert answers == [1]


async def test_what_was_begun_is_finished_when_the_runner_is_cancelled(autojump_clock):
    held = trio.Event()

    async def slow(work: Callable[[], Any]) -> Any:
        await held.wait()
        return work()

    stage = Stage(slow)
    await stage.runner.post(LinkDown(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stopped(nursery)
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            held.set()
    assert stage.order() == ["begin", "handle", "commit", "perform"]


# --- a store that fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreError("the disk failed"), StoreFull("no space", hint="make room")])
async def test_when_the_store_fails_nothing_is_said_and_whoever_waits_is_told(autojump_clock, error):
    stage = Stage()
    stage.store.fails = error
    told: list[StoreError] = []

    async def command() -> None:
        with pytest.raises(StoreError) as refused:
            await stage.runner.submit(Disconnect())
        told.append(refused.value)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(command)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(type(error)) as raised:
            await stage.runner.run()
    assert raised.value is error
    assert [(type(one), one.detail, one.hint) for one in told] == [
        (type(error), error.detail, error.hint)
    ] * 2
    assert stage.order() == ["begin", "handle", "handle", "rollback"]
    assert stage.performed == []
    assert stage.store.setting("link/1") is None


async def test_after_a_failure_nothing_more_is_taken_or_answered(autojump_clock):
    stage = Stage()
    stage.store.fails = StoreError("the disk failed")
    await stage.runner.post(LinkDown(1))
    with pytest.raises(StoreError):
        await stage.runner.run()
    for use in (
        stage.runner.post(LinkDown(2)),
        stage.runner.submit(Disconnect()),
        stage.runner.ask(lambda store: store.setting("x")),
    ):
        with pytest.raises(NotReady) as refused:
            await use
        assert refused.value.code == "group-closed"


async def test_a_mistake_of_ours_is_rolled_back_and_leaves_nobody_waiting(autojump_clock):
    stage = Stage()
    errors: list[BaseException] = []

    async def command() -> None:
        with pytest.raises(NotReady) as refused:
            await stage.runner.submit(LinkDown(99))
        errors.append(refused.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(command)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match="a mistake of ours"):
            await stage.runner.run()
    assert len(errors) == 1
    assert stage.order() == ["begin", "handle", "rollback"]


async def test_a_runner_that_ends_leaves_nobody_waiting(autojump_clock):
    stage = Stage()
    refused: list[str] = []

    async def command() -> None:
        with pytest.raises(NotReady) as error:
            await stage.runner.submit(Disconnect())
        refused.append(error.value.code)

    async with trio.open_nursery() as nursery:
        for _ in range(INBOX_EVENTS_MAX + 3):  # some of them wait for room
            nursery.start_soon(command)
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await stage.runner.run()
    assert refused == ["group-closed"] * (INBOX_EVENTS_MAX + 3)


async def test_a_runner_that_was_cancelled_before_it_began_leaves_nobody_waiting(autojump_clock):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        nursery.cancel_scope.cancel()
    with pytest.raises(NotReady):
        await stage.runner.submit(Disconnect())


# --- refusals -----------------------------------------------------------------------------------------------


async def test_a_refused_command_disturbs_no_other_in_its_turn(autojump_clock):
    stage = Stage()
    outcome: dict[int, object] = {}

    async def command(number: int) -> None:
        try:
            outcome[number] = await stage.runner.submit(LinkDown(number))
        except RuleError as error:
            outcome[number] = error.code

    async with trio.open_nursery() as nursery:
        for number in (12, 13, 14):
            nursery.start_soon(command, number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stage.runner.run)
        await stopped(nursery)
    assert outcome == {12: 12, 13: "invalid-argument", 14: 14}
    assert stage.order().count("commit") == 1
    assert [stage.store.setting(f"link/{number}") for number in (12, 13, 14)] == [b"down", None, b"down"]


# --- the inbox ----------------------------------------------------------------------------------------------


async def test_who_posts_to_a_full_inbox_waits(autojump_clock):
    stage = Stage()
    for number in range(INBOX_EVENTS_MAX):
        await stage.runner.post(LinkDown(1000 + number))
    with trio.move_on_after(60) as patience:
        await stage.runner.post(LinkDown(1))
    assert patience.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stage.runner.post(LinkDown(2))
        await stopped(nursery)
    assert LinkDown(1) not in stage.machine.handled
    assert stage.machine.handled[-1] == LinkDown(2)


async def test_time_is_told_when_it_is_due_and_not_before(autojump_clock):
    stage = Stage()
    stage.machine.due_ms = int(trio.current_time() * 1000) + 5000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await trio.sleep(4.999)
        assert stage.machine.handled == []
        await trio.sleep(0.01)
        assert stage.machine.handled == [Tick()]
        await trio.sleep(3600)
        assert stage.machine.handled == [Tick()]
        nursery.cancel_scope.cancel()


# --- asking -------------------------------------------------------------------------------------------------


async def test_who_asks_sees_what_is_durable_and_never_the_middle_of_a_turn(autojump_clock):
    held = trio.Event()

    async def slow(work: Callable[[], Any]) -> Any:
        await held.wait()
        return work()

    stage = Stage(slow)
    seen: list[bytes | None] = []

    async def ask() -> None:
        seen.append(await stage.runner.ask(lambda store: store.setting("link/1")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await ask()
        await stage.runner.post(LinkDown(1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [None]
        held.set()
        await stopped(nursery)
    assert seen == [None, b"down"]


@pytest.mark.parametrize(
    "error", [RuleError("invalid-argument", "no"), NotReady("no"), AssertionError("no"), KeyError("no")]
)
async def test_a_question_that_fails_is_its_askers_problem_alone(autojump_clock, error):
    stage = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        with pytest.raises(type(error)) as raised:
            await stage.runner.ask(raising(error))
        assert raised.value is error
        assert await stage.runner.submit(Disconnect()) == 1
        await stopped(nursery)


async def test_a_group_that_does_not_run_yet_can_be_read(autojump_clock):
    stage = Stage()
    assert await stage.runner.ask(lambda store: store.setting("link/1")) is None


async def test_while_refusing_all_but_reading_is_told_why(autojump_clock):
    stage = Stage()
    full = StoreFull("no space", hint="make room")
    with stage.runner.refusing(full):
        for use in (stage.runner.post(LinkDown(1)), stage.runner.submit(Disconnect())):
            with pytest.raises(StoreFull, match="no space"):
                await use
        assert await stage.runner.ask(lambda store: store.setting("link/1")) is None
    await stage.runner.post(LinkDown(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.runner.run)
        await stopped(nursery)
    assert stage.machine.handled == [LinkDown(1)]
