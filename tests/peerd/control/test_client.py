"""The client speaks every route with the schema's types, and words every failure for people."""

from __future__ import annotations

import socket
import threading

import pytest

from peerd.control import authority_schema, client as client_module, record_schema, root_schema, schema
from peerd.control.client import ApiError, Client, ClientError, DaemonNotRunning
from peerd.control.limits import BODY_BYTES_MAX, PAGE_LIMIT_MAX
from peerd.control.routes import ROUTES
from tests.peerd.control.fake import RECOVERY_KEY
from tests.peerd.control.served import WAIT_S_MAX, served
from tests.support.threads import first_use_ends_well

ACT = "ac" * 32


@pytest.fixture
def running(tmp_path):
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def client(running):
    with running.client() as client:
        yield client


def make_group(client: Client) -> schema.Group:
    client.create_identity(schema.IdentityCreate(classifier="laptop", friendly_name="Ada's"))
    key = client.make_recovery_key()
    assert key.recovery_key == RECOVERY_KEY
    return client.create_group(
        schema.GroupCreate(
            classifier="family", recovery_token=key.recovery_token, recovery_delivered=True, comment="us"
        )
    )


def use_records(client: Client, group: str) -> list:
    """The answers of every route about records, the first a record."""
    record = client.add_record(group, record_schema.RecordAdd(record_type="note", data="YWJj"))
    answers = [
        record,
        client.records(group, record_schema.RecordsQuery(record_type="note", limit=1)),
        client.search_records(group, record_schema.RecordSearch(query="all")),
        client.record(group, record.record_id, data=True),
        client.change_record(group, record.record_id, record_schema.RecordChange(data="")),
        client.set_record_data(group, record.record_id, b"\0\xff"),
        client.import_group(group, client.export_group(group)),
    ]
    assert client.record_data(group, record.record_id) == b"\0\xff"
    return [*answers, client.delete_record(group, record.record_id)]


def test_every_route_is_reached_and_answers_with_its_type(client, monkeypatch):
    reached = set()
    original = client_module.Client._open

    def noted(self, connection, method, target, *rest):
        reached.add((method, target.split("?")[0]))
        return original(self, connection, method, target, *rest)

    monkeypatch.setattr(client_module.Client, "_open", noted)
    group = make_group(client)
    name, own = group.group, group.peer_name
    wish = schema.CredentialIssue(subject="b" * 40 + ".bob", store=True, invitation=True)
    issued = client.issue(name, wish)
    batch = schema.CredentialBatch(issues=[schema.CredentialIssue(subject="c" * 40 + ".c")] * 3)
    answers = [
        client.api(),
        client.status(),
        client.health(),
        client.identities(),
        client.identity(own),
        client.identity_document(own),
        client.change_identity(own, schema.IdentityChange(friendly_name="new")),
        client.groups(),
        client.group(name),
        client.connect_group(name, schema.GroupConnect(addresses=["[::1]:3587"], only=True)),
        client.disconnect_group(name),
        client.properties(name),
        client.change_properties(name, schema.PropertiesChange(comment="")),
        client.credentials(name, schema.CredentialsQuery(subject="b" * 40 + ".bob")),
        client.credential(name, issued.credential.grant_id),
        client.issue_batch(name, batch),
        client.create_invitation(name, schema.InvitationCreate(subject="d" * 40 + ".d")),
        client.members(name, schema.Page(limit=1)),
        client.member(name, "b" * 40 + ".bob"),
        client.acts(name, schema.Page()),
        client.join_group(schema.GroupJoin(group="e" * 40 + ".other", addresses=["192.0.2.1:1"])),
    ]
    record = client.add_record(name, record_schema.RecordAdd(record_type="note", data="YWJj"))
    answers += [
        record,
        client.records(name, record_schema.RecordsQuery(record_type="note", limit=1)),
        client.search_records(name, record_schema.RecordSearch(query="all")),
        client.record(name, record.record_id, data=True),
        client.change_record(name, record.record_id, record_schema.RecordChange(data="")),
        client.set_record_data(name, record.record_id, b"\0\xff"),
        client.import_group(name, client.export_group(name)),
        *reasons(client, name, issued.credential, record),
        *[*roots(client, name), *removals(client, name, issued.credential)],
    ]
    assert client.record_data(name, record.record_id) == b"\0\xff"
    assert client.delete_record(name, record.record_id).deleted
    assert issued.invitation
    assert answers[16].invitation
    assert len(answers[15].issued) == 3
    assert "peerd_groups" in client.metrics()
    assert client.openapi().startswith(b"{")
    assert list(client.events(since="start", follow=False))
    with pytest.raises(ApiError, match="no invitation"):
        client.parse_invitation(schema.InvitationParse(invitation="<"))
    client.delete_group(name)
    client.delete_group("e" * 40 + ".other")
    assert client.delete_identity(own).deleted
    assert all(isinstance(answer, schema.Reply) for answer in answers)
    known = {"{group}": {name, "e" * 40 + ".other"}, "{peer_name}": {own, "b" * 40 + ".bob"}}
    known["{grant_id}"] = {issued.credential.grant_id}
    known["{record_id}"] = {record.record_id}
    known["{act_id}"] = {ACT}
    assert {templated(method, path, known) for method, path in reached} == {
        (r.method, r.path) for r in ROUTES
    }


def reasons(
    client: Client, group: str, one: schema.Credential, record: record_schema.Record
) -> list[schema.Reply]:
    """Every way to ask why."""
    return [
        client.audit(group, schema.Page(limit=1)),
        client.why_member(group, one.subject),
        client.why_record(group, record.record_id),
    ]


def roots(client: Client, group: str) -> list[schema.Reply]:
    """Every way to deal with a group's root."""
    token = client.make_recovery_key(root_schema.RecoveryDraw(keys=3, threshold=2)).recovery_token
    rotation = root_schema.RootRotation(
        recovery_keys=[RECOVERY_KEY], recovery_token=token, recovery_delivered=True
    )
    prepared = client.prepare_root_act(group, root_schema.RootPreparation(key=True))
    return [
        client.root(group),
        client.rotate_root(group, rotation),
        prepared,
        client.sign_root_file(root_schema.RootSigning(file=prepared.file)),
        client.import_root_act(group, root_schema.RootImport(file=prepared.file)),
        client.protect_root(group, root_schema.RootProtection(new_passphrase="sesame")),
        client.unlock_root(group, root_schema.RootUnlocking(passphrase="sesame")),
        client.lock_root(group),
    ]


def removals(client: Client, group: str, one: schema.Credential) -> list[authority_schema.Removal]:
    """Every way to take something away."""
    return [
        client.revoke_member(group, one.subject, authority_schema.Revocation(dry_run=True)),
        client.revoke_credential(group, one.grant_id, authority_schema.Revocation()),
        client.annul_act(group, ACT, authority_schema.Annulment()),
        client.leave_group(group, authority_schema.GroupLeave(reason="moved")),
    ]


def templated(method: str, path: str, known: dict[str, set[str]]) -> tuple[str, str]:
    segments = path.split("/")
    for place, names in known.items():
        segments = [place if segment in names else segment for segment in segments]
    return method, "/".join(segments)


@pytest.mark.parametrize("name", ["ä b", "a/b", "a?b#c", "100%", "..", "日本", "a+b&c=d"])
def test_any_name_reaches_its_place_in_the_path(client, name):
    client.create_identity(schema.IdentityCreate(classifier=name))
    assert client.identity(name).peer_name.endswith(f".{name}")


def test_absent_properties_stay_and_empty_ones_are_set(client):
    group = make_group(client).group
    assert client.change_properties(group, schema.PropertiesChange(friendly_name="F")).comment == "us"
    assert client.change_properties(group, schema.PropertiesChange(comment="")).comment == ""


def test_lists_longer_than_a_page_are_read_to_their_end(client):
    group = make_group(client).group
    subjects = [f"{number:040x}.x" for number in range(PAGE_LIMIT_MAX + 24)]
    for start in range(0, len(subjects), 256):
        wishes = [schema.CredentialIssue(subject=subject) for subject in subjects[start : start + 256]]
        client.issue_batch(group, schema.CredentialBatch(issues=wishes))
    assert [one.subject for one in client.all_credentials(group)] == subjects
    assert [one.peer_name for one in client.all_members(group)] == subjects
    assert len(list(client.all_acts(group))) == len(subjects)
    assert len(list(client.whole_audit(group))) == len(subjects)
    assert [one.subject for one in client.all_credentials(group, subjects[7])] == [subjects[7]]


def test_a_refusal_carries_slug_detail_hint_and_status(client):
    with pytest.raises(ApiError) as caught:
        client.group("none")
    error = caught.value
    assert (error.slug, error.status, error.hint) == ("group-not-found", 404, "peerd group list")
    assert "'none'" in error.detail
    assert str(error) == error.detail
    assert error.problem.instance


def test_a_windows_code_comes_through(client):
    with pytest.raises(ApiError) as caught:
        client.identity("none")
    assert caught.value.problem.windows_code == 0x80630501


def test_events_that_come_later_are_followed_until_the_daemon_stops(running, client):
    def add():
        running.do(running.operations.log.add, "greeting", None)

    kinds = []
    for event in client.events(on_open=add):
        kinds.append(event.kind)
        if event.kind == "greeting":
            threading.Thread(target=running.stop).start()
    assert kinds == ["greeting", "bye"]


def test_without_a_socket_the_daemon_is_not_running(tmp_path):
    with pytest.raises(DaemonNotRunning) as caught:
        Client(str(tmp_path / "control.sock")).status()
    assert caught.value.hint == "start it: peerd run"
    assert caught.value.slug == "daemon-not-running"


def test_a_socket_where_nobody_listens_is_a_daemon_that_is_not_running(running):
    running.stop()
    with running.client() as client, pytest.raises(DaemonNotRunning):
        client.status()


def test_a_path_too_long_for_a_socket_is_said_to_be_one(tmp_path):
    with pytest.raises(ApiError) as caught:
        Client(str(tmp_path / ("x" * 120))).status()
    assert caught.value.slug == "path-too-long"


def test_a_connection_that_the_daemon_closed_meanwhile_is_opened_anew(tmp_path):
    with served(tmp_path) as running, running.client() as client:
        client.status()
        running.stop()
        with served(tmp_path):
            assert client.create_identity(schema.IdentityCreate()).groups == []


@pytest.mark.parametrize("times", [3, 20])  # read to its end, and cut off
def test_a_body_over_the_limit_is_refused_in_words(client, times):
    with pytest.raises(ApiError) as caught:
        client.parse_invitation(schema.InvitationParse(invitation="x" * times * BODY_BYTES_MAX))
    assert caught.value.slug == "request-too-large"
    assert client.health().health == "healthy"


@pytest.fixture
def stranger(tmp_path):
    """Gives clients of something else that listens at a socket."""

    def answer_once(listener: socket.socket, answer: bytes) -> None:
        with listener, listener.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(answer)

    def answering(answer: bytes) -> Client:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        threads.append(threading.Thread(target=answer_once, args=(listener, answer)))
        threads[-1].start()
        return Client(str(tmp_path / "s"), timeout_s=WAIT_S_MAX)

    threads: list[threading.Thread] = []
    yield answering
    for thread in threads:
        thread.join(WAIT_S_MAX)


@pytest.mark.parametrize(
    "answer,kind",
    [
        (b"", DaemonNotRunning),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{", DaemonNotRunning),
        (b"SSH-2.0-OpenSSH\r\n", ApiError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ApiError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff", ApiError),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", ApiError),
    ],
)
def test_whatever_answers_the_error_is_one_of_ours(stranger, answer, kind):
    with stranger(answer) as client, pytest.raises(kind) as caught:
        client.health()
    assert caught.value.detail


def test_fields_of_a_newer_daemon_are_ignored(stranger):
    body = b'{"health":"healthy","findings":[],"mood":"fine"}'
    with stranger(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as client:
        assert client.health().health == "healthy"


def test_the_root_of_the_errors_is_never_raised():
    with pytest.raises(TypeError):
        ClientError(schema.Problem(slug="x", title="X", status=400, detail="x"))


def test_threads_of_a_program_that_get_an_answer_of_a_kind_first_all_get_it_whole():
    """Without care this ends the program."""
    one = '{"a": "1", "b": ["2"]}'
    assert first_use_ends_well(
        "from peerd.control.client import _decoded",
        "str",
        "1",
        f'_decoded(b\'{{"c": [{one}], "d": {one}}}\', outer)',
    )
