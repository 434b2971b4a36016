"""The whole daemon at a glance: nothing is told before it is durable, and nothing is missed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from peerd import VERSION
from peerd.control import schema
from peerd.control.operations import Operations
from peerd.errors import NotReady, StoreFull
from peerd.groups.service import Service
from peerd.store.database import sqlite_version
from tests.support.cluster import Node, agreed, calm, cluster, grow, until

REDIAL_S = 100
NOWHERE = "10.9.9.9:9"
T = TypeVar("T")


def offered(service: Service) -> Operations:
    """The type checker sees to it that a service can do all that is asked of it."""
    return service


def test_the_service_offers_every_operation():
    operations = {name for name in vars(Operations) if not name.startswith("_")}
    assert operations <= {name for kind in Service.__mro__ for name in vars(kind)}


# --- the daemon -------------------------------------------------------------------------------------------


async def test_the_daemon_says_what_it_is_and_where(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        await trio.sleep(60)
        await alice.service.create_identity(schema.IdentityCreate(classifier="other"))
        group = await alice.found()
        status, api = await alice.service.status(), alice.service.api()
        assert (status.version, status.pid) == (api.version, api.pid) == (VERSION, os.getpid())
        assert status.started == api.started
        assert (schema.time_at_ms(alice.clock.moment().utc_ms) - status.started).total_seconds() >= 60
        assert (status.home, status.addresses) == (str(alice.home.directory), [alice.address])
        assert (status.health, status.findings) == ("healthy", [])
        assert status.identities == 2
        assert [one.group for one in status.groups] == [group]
        assert status.groups == (await alice.service.groups()).groups
        assert {"python", "sqlite", "trio", "cryptography"} <= status.versions.keys()
        assert status.versions["sqlite"] == sqlite_version()


async def test_a_finding_makes_the_daemon_degraded(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice")
        alice = nodes["alice"]
        await alice.service.connect_group(group, schema.GroupConnect(addresses=[NOWHERE]))
        status, health = await alice.service.status(), await alice.service.health()
        assert status.health == health.health == "degraded"
        assert (
            [one.code for one in status.findings] == [one.code for one in health.findings] == ["no-neighbors"]
        )


# --- what is not durable ----------------------------------------------------------------------------------


class Gate:
    """An offload that can be held: what is to be committed waits, as on a slow disk."""

    def __init__(self) -> None:
        self._way = trio.Event()
        self._way.set()

    async def __call__(self, work: Callable[[], T]) -> T:
        await self._way.wait()
        return work()

    def shut(self) -> None:
        self._way = trio.Event()

    def open(self) -> None:
        self._way.set()


def readings(node: Node, group: str, grant_id: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Everything that reads a group, by name."""
    service = node.service
    return {
        "status": service.status,
        "groups": service.groups,
        "group": lambda: service.group(group),
        "properties": lambda: service.properties(group),
        "members": lambda: service.members(group, schema.Page()),
        "member": lambda: service.member(group, node.peer_name),
        "acts": lambda: service.acts(group, schema.Page()),
        "credentials": lambda: service.credentials(group, schema.CredentialsQuery()),
        "credential": lambda: service.credential(group, grant_id),
        "metrics": service.metrics,
        "health": service.health,
    }


@pytest.mark.parametrize("full", [False, True])
async def test_no_reading_shows_what_is_not_on_the_disk(tmp_path, autojump_clock, monkeypatch, full):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        gate = alice.registry.environment.offload = Gate()
        group = await alice.found()
        calls = readings(alice, group, alice.grant_id(group))
        before = {name: await call() for name, call in calls.items()}
        events, answers, outcomes = alice.events(), dict[str, str](), list[str]()
        opened = alice.opened(group)
        assert opened is not None

        async def read(name: str) -> None:
            try:
                answers[name] = str(await calls[name]())
            except NotReady as error:
                answers[name] = error.code

        async def issue() -> None:
            try:
                await alice.issue(group, "alice", as_root=True, friendly_name="Ludmilla")
                outcomes.append("issued")
            except StoreFull as error:
                outcomes.append(error.code)

        if full:
            monkeypatch.setattr(opened.store, "commit", no_space)
        gate.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(issue)
            await calm()
            assert len(opened.machine.members.view) == 4  # it is decided already
            for name in calls:
                nursery.start_soon(read, name)
            await calm()
            assert (answers, outcomes, alice.events()) == ({}, [], events)
            gate.open()
        await calm()
        after = {name: await call() for name, call in calls.items()}
        if full:
            assert outcomes == ["store-full"]
            assert not [name for name, answer in answers.items() if "Ludmilla" in answer]
            assert (after, alice.events()) == (before, events)
        else:
            assert outcomes == ["issued"]
            assert "Ludmilla" in answers["credential"] + answers["members"]
            assert {name for name in after if after[name] != before[name]} == set(calls) - {
                "health",
                "properties",
            }


def no_space() -> None:
    raise StoreFull("no space is left")


async def test_who_reads_on_from_a_status_misses_nothing(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        first, second = sorted([await alice.found("one"), await alice.found("two")])
        last_read = alice.opened(second)
        assert last_read is not None
        turn = last_read.node.runner._turn
        answers: list[schema.Status] = []

        async def ask() -> None:
            answers.append(await alice.service.status())

        async with trio.open_nursery() as nursery:
            await turn.acquire()
            nursery.start_soon(ask)
            await calm()
            turn.release()  # to the findings, which wait for it
            await turn.acquire()
            await calm()  # one group has been read, the other is waited for
            issued = (await alice.issue(first, "alice", as_root=True)).credential.grant_id
            turn.release()
        (answer,) = answers
        assert answer.groups[0].acts == 3
        told = [event.facts.get("grant_id") for event in alice.events(answer.cursor)]
        assert issued in told


# --- events -----------------------------------------------------------------------------------------------


async def test_each_event_of_each_group_is_told_once_across_restarts(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        told: list[tuple[str | None, Any]] = []
        cursor = bob.service.events.start()

        def read_on() -> None:
            nonlocal cursor
            while (page := bob.service.events.after(cursor, 2)).events:
                assert not page.lagged
                told.extend((e.group, e.facts["grant_id"]) for e in page.events if "grant_id" in e.facts)
                cursor = page.cursor

        issued: list[tuple[str | None, Any]] = []
        for turn in range(3):
            read_on()
            club = await alice.found(f"club{turn}")
            issued.append((club, (await alice.issue(club, bob)).credential.grant_id))
            await bob.join(club, alice)
            await until(lambda club=club: bob.links(club), within_s=REDIAL_S)  # type: ignore[misc]
            await until(lambda club=club: agreed(club, [alice, bob]), within_s=REDIAL_S)  # type: ignore[misc]
            issued.append((group, await alice.renew(group, bob)))
            await calm()
            await bob.stop()
            await nodes.start("bob")
        read_on()
        for one in issued:
            assert told.count(one) == 3  # added, its holder changed, adopted
        assert (await bob.service.status()).cursor == bob.service.events.end()


async def test_the_events_of_a_deleted_group_are_gone_and_of_one_joined_again_are_new(
    tmp_path, autojump_clock
):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        bob = nodes["bob"]
        cursor = bob.service.events.end()
        await bob.service.delete_group(group)
        assert bob.events() == []
        await bob.join(group, nodes["alice"])
        await until(lambda: bob.links(group), within_s=REDIAL_S)
        kinds = [event.kind for event in bob.events(cursor)]
        assert kinds == bob.kinds()
        assert "credential-adopted" in kinds


# --- figures ----------------------------------------------------------------------------------------------


async def figures(node: Node) -> dict[tuple[str, str], float]:
    """By name and group."""
    text = (await node.service.metrics()).decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type == "gauge" for family in families)
    return {
        (sample.name, sample.labels["group"]): sample.value
        for family in families
        for sample in family.samples
    }


async def test_figures_of_every_group(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        group = await grow(nodes, "alice", "bob")
        alice, bob = nodes["alice"], nodes["bob"]
        waited_for = f"{'ab' * 20}.pizza"
        await bob.service.join_group(schema.GroupJoin(group=waited_for, addresses=[NOWHERE]))
        found = await figures(bob)
        grant = bob.credential(group)
        assert grant is not None
        assert found == {
            ("peerd_neighbors", group): 1,
            ("peerd_members", group): 2,
            ("peerd_acts", group): 4,
            ("peerd_records", group): (await bob.service.group(group)).records,
            ("peerd_credential_end_seconds", group): grant.window.end,
            ("peerd_neighbors", waited_for): 0,
            ("peerd_members", waited_for): 0,
            ("peerd_acts", waited_for): 0,
            ("peerd_records", waited_for): 0,
            ("peerd_credential_end_seconds", waited_for): 0,
        }
        assert (await figures(alice))["peerd_credential_end_seconds", group] == float("inf")
        await bob.service.delete_group(waited_for)
        assert {name for _, name in await figures(bob)} == {group}


async def test_figures_of_a_group_with_any_name_can_be_read(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        group = await alice.found('a "quoted" \\ name {}, \U0001f355')
        assert (await figures(alice))["peerd_members", group] == 1


async def test_without_groups_there_are_no_figures(tmp_path, autojump_clock):
    async with cluster(tmp_path, tls=False) as nodes:
        (alice,) = await nodes.start("alice")
        assert await figures(alice) == {}
