"""Handlers pass on what was asked, whole and under the right name."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import pytest
from msgspec.structs import asdict

from peerd.control import record_schema, schema
from peerd.control.events import EventBell, Subscription
from peerd.control.handlers import (
    Call,
    Context,
    _if_version,
    _write_query,
    create_invitation,
    get_events,
    issue_credential,
)
from peerd.control.http1 import StopSignal, Streaming
from peerd.control.routes import ROUTES
from peerd.errors import BadRequest
from tests.peerd.control.fake import NOW, FakeOperations


class Recorder(FakeOperations):
    """Notes what it was asked to issue."""

    asked: Sequence[schema.CredentialIssue] = ()

    async def issue(
        self, group: str, wishes: Sequence[schema.CredentialIssue]
    ) -> Sequence[schema.CredentialIssued]:
        self.asked = wishes
        return await super().issue(group, wishes)


@pytest.fixture
def operations():
    operations = Recorder(EventBell())
    operations._group("a" * 40 + ".g", "a" * 64, "", "b" * 40 + ".own", "open")
    return operations


def context_of(operations: FakeOperations) -> Context:
    return Context(operations, operations.bell, StopSignal(), lambda: b"{}")


def call(
    *, query: schema.Request | None = None, body: schema.Request | None = None, accept: str = ""
) -> Call:
    return Call({"group": "g"}, query, body, {"accept": accept})


async def test_an_invitation_is_a_credential_that_is_asked_for_and_not_stored(operations):
    asked = schema.InvitationCreate(
        subject="c" * 40 + ".c", document="<d/>", role="admin", friendly_name="C", not_before=NOW, valid_s=7
    )
    issued = await create_invitation(context_of(operations), call(body=asked))
    (wish,) = operations.asked
    assert asdict(wish) == asdict(schema.CredentialIssue()) | asdict(asked) | {"invitation": True}
    assert issued.invitation is not None


async def test_a_wish_to_issue_is_passed_on_as_it_is(operations):
    wish = schema.CredentialIssue(subject="c" * 40 + ".c", store=True, issuer="somebody else")
    await issue_credential(context_of(operations), call(body=wish))
    assert list(operations.asked) == [wish]


async def test_a_body_of_another_type_is_a_mistake_of_ours(operations):
    with pytest.raises(AssertionError):
        await issue_credential(context_of(operations), call(body=schema.InvitationCreate()))


def test_events_of_one_group_are_asked_for_by_its_full_name(operations):
    query = schema.EventsQuery(group="g", kinds="a,b")
    streaming = get_events(context_of(operations), call(query=query, accept="application/x-ndjson"))
    assert isinstance(streaming, Streaming)
    assert streaming.media_type == "application/x-ndjson"
    subscription = getattr(streaming.run, "__self__", None)
    assert isinstance(subscription, Subscription)
    assert subscription.selection.group == "a" * 40 + ".g"
    assert subscription.selection.kinds == frozenset({"a", "b"})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_what_changes_something_waits_until_it_is_durable(route):
    changes = route.method != "GET" and route.name not in ("make_recovery_key", "parse_invitation")
    assert inspect.iscoroutinefunction(route.handler) or not changes


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_handler_is_short(route):
    assert len(inspect.getsource(route.handler).splitlines()) <= 15


# --- records ------------------------------------------------------------------------------------------------

VERSION = "ab" * 32


@pytest.mark.parametrize("header", [f'"{VERSION}"', VERSION, f' "{VERSION}" '])
def test_if_match_names_the_version_that_a_write_depends_on(header):
    bare = Call({}, record_schema.WriteQuery(wait_replicated=2), None, {"if-match": header})
    assert _write_query(bare) == record_schema.WriteQuery(if_version=VERSION, wait_replicated=2)
    assert _if_version(bare, VERSION) == VERSION


@pytest.mark.parametrize("header", ["", "*"])
def test_any_version_leaves_the_field_to_speak(header):
    bare = Call({}, None, None, {"if-match": header})
    assert _if_version(bare, None) is None
    assert _if_version(bare, VERSION) == VERSION


@pytest.mark.parametrize("header", [f'W/"{VERSION}"', f'"{VERSION}", "ff"', '"', '""', '"a'])
def test_what_is_not_one_version_is_refused(header):
    with pytest.raises(BadRequest):
        _if_version(Call({}, None, None, {"if-match": header}), None)


def test_two_versions_that_differ_are_refused():
    with pytest.raises(BadRequest):
        _if_version(Call({}, None, None, {"if-match": f'"{VERSION}"'}), "cd" * 32)
