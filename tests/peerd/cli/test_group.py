"""`peerd group`: what is asked of the daemon, and what is printed."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from peerd.cli import recovery
from peerd.control import schema
from tests.peerd.cli.fake_daemon import ALICE, BOB, PIZZA, SINCE, group, neighbor

KEY = "-".join(["ABCD"] * 14)
CREATE = ("group", "create", "pizza")


@pytest.fixture
def with_recovery(daemon):
    daemon.will_answer(
        "POST",
        "groups/recovery",
        schema.RecoveryKey(recovery_key=KEY, recovery_token="token", expires=SINCE),
    )
    daemon.will_answer("POST", "groups", group())
    return daemon


def properties() -> schema.Properties:
    return schema.Properties(
        group=PIZZA,
        classifier="pizza",
        friendly_name="Pizza",
        comment="Every Friday",
        default_life_s=90 * 86_400,
        renew_auto=True,
        renew_left=3,
        renew_valid_s=0,
        renew_unseen_s=30 * 86_400,
        modified=SINCE,
    )


# --- create -------------------------------------------------------------------------------------------------


def test_the_recovery_key_is_in_its_file_before_the_group_is_made(peerd, with_recovery, home: Path) -> None:
    file = home / "pizza.key"
    seen: list[str] = []

    def made() -> schema.Group:
        seen.append(file.read_text())
        return group()

    with_recovery.will_answer("POST", "groups", made)
    outcome = peerd(*CREATE, "--recovery", str(file))
    assert outcome.exit_code == 0
    assert KEY in seen[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY not in outcome.stdout + outcome.stderr
    assert with_recovery.last.body == {
        "classifier": "pizza",
        "recovery_token": "token",
        "recovery_delivered": True,
    }


def test_every_wish_about_a_new_group_is_passed_on(peerd, with_recovery) -> None:
    peerd(
        *CREATE,
        *("--friendly-name", "Pizza", "--comment", "Fridays", "--default-life", "30d", "--identity", "alice"),
        "--json",
    )
    assert with_recovery.last.body == {
        "classifier": "pizza",
        "recovery_token": "token",
        "recovery_delivered": True,
        "friendly_name": "Pizza",
        "comment": "Fridays",
        "default_life_s": 30 * 86_400,
        "identity": "alice",
    }


def test_json_holds_the_recovery_key_beside_the_groups_fields(peerd, with_recovery) -> None:
    reply = peerd(*CREATE, "--json").json
    assert reply["recovery_key"] == KEY
    assert reply["group"] == PIZZA


def test_json_leaves_the_key_out_when_a_file_has_it(peerd, with_recovery, home: Path) -> None:
    assert "recovery_key" not in peerd(*CREATE, "--json", "--recovery", str(home / "key")).json


def test_without_a_place_for_the_key_nothing_is_asked(peerd, with_recovery) -> None:
    outcome = peerd(*CREATE)
    assert outcome.exit_code == 2
    assert "--recovery FILE" in outcome.stderr
    assert not with_recovery.asked


def test_a_file_that_exists_is_refused_before_anything_is_asked(peerd, with_recovery, home: Path) -> None:
    file = home / "pizza.key"
    file.write_text("precious")
    outcome = peerd(*CREATE, "--recovery", str(file))
    assert outcome.exit_code == 6
    assert file.read_text() == "precious"
    assert not with_recovery.asked


def test_a_terminal_shows_the_key_before_the_group_is_made(
    peerd, with_recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "terminal_width", lambda: 80)
    outcome = peerd(*CREATE)
    assert outcome.stdout.index(KEY) < outcome.stdout.index(PIZZA)


def test_a_refused_group_leaves_no_file(peerd, with_recovery, home: Path) -> None:
    with_recovery.will_refuse("POST", "groups", "invalid-classifier")
    outcome = peerd(*CREATE, "--recovery", str(home / "pizza.key"))
    assert outcome.exit_code == 1
    assert not (home / "pizza.key").exists()


@pytest.mark.parametrize("slug", ["internal", "timed-out"])
def test_while_it_is_unknown_whether_the_group_was_made_its_key_stays(
    peerd, with_recovery, home: Path, slug: str
) -> None:
    with_recovery.will_refuse("POST", "groups", slug)
    peerd(*CREATE, "--recovery", str(home / "pizza.key"))
    assert KEY in (home / "pizza.key").read_text()


def test_a_refused_group_makes_a_shown_key_useless(
    peerd, with_recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "terminal_width", lambda: 80)
    with_recovery.will_refuse("POST", "groups", "invalid-classifier")
    assert "of no use" in peerd(*CREATE).stderr


def test_a_refused_recovery_key_leaves_no_file(peerd, daemon, home: Path) -> None:
    daemon.will_refuse("POST", "groups/recovery", "access-denied")
    outcome = peerd(*CREATE, "--recovery", str(home / "pizza.key"))
    assert outcome.exit_code == 5
    assert not (home / "pizza.key").exists()


def test_no_daemon_leaves_no_file(peerd, home: Path) -> None:
    assert peerd(*CREATE, "--recovery", str(home / "pizza.key")).exit_code == 3
    assert not (home / "pizza.key").exists()


def test_a_key_that_could_not_be_printed_is_told_on_standard_error(
    peerd, with_recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peerd.cli.group.answer", full)
    monkeypatch.setattr("peerd.cli.main._drop_output", lambda: None)
    outcome = peerd(*CREATE, "--json")
    assert outcome.exit_code == 1
    assert KEY in outcome.stderr
    assert "No space left" in outcome.stderr


def test_a_hostile_classifier_cannot_add_lines_to_the_file(peerd, with_recovery, home: Path) -> None:
    peerd("group", "create", "a\nFAKE-KEY", "--recovery", str(home / "key"))
    assert (home / "key").read_text().splitlines()[-1] == KEY
    assert len((home / "key").read_text().splitlines()) == 3


# --- list, show ---------------------------------------------------------------------------------------------


def test_list_shows_state_roles_and_links(peerd, daemon) -> None:
    waiting = group(group="dd" * 20 + ".tea", state="joining", credential=None, neighbors=[])
    away = group(group="ee" * 20 + ".ale", connected=False, neighbors=[])
    daemon.will_answer("GET", "groups", schema.Groups(groups=[group(), waiting, away]))
    rows = peerd("group", "list").stdout.splitlines()[1:]
    assert [word in row for row, word in zip(rows, ["connected", "waiting", "disconnected"], strict=True)]
    assert "admin" in rows[0]
    assert "never" in rows[0]
    assert len(peerd("group", "list", "--json").json["groups"]) == 3


def test_an_empty_list_says_what_can_be_done(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups", schema.Groups(groups=[]))
    outcome = peerd("group", "list")
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "peerd group create" in outcome.stderr


def test_show_tells_links_and_credential(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza", group(neighbors=[neighbor(outgoing=False)], only=True))
    shown = peerd("group", "show", "pizza").stdout
    for word in (PIZZA, ALICE, BOB, "admin", "never", "127.0.0.1:3587 only", "it"):
        assert word in shown


def test_show_of_a_group_that_is_awaited_says_so(peerd, daemon) -> None:
    awaited = group(state="joining", gid=None, credential=None, neighbors=[], addresses=[])
    daemon.will_answer("GET", "groups/pizza", awaited)
    shown = peerd("group", "show", "pizza").stdout
    assert "waiting for a credential" in shown
    assert "valid until" not in shown


@pytest.mark.parametrize(
    "kind, by, said",
    [
        ("revoke_credential", BOB, f"2026-05-01T12:00:00Z by {BOB}"),
        ("revoke_key", None, "2026-05-01T12:00:00Z by the root, for ever"),
    ],
)
def test_show_of_a_group_that_this_identity_was_removed_from_says_by_whom(
    peerd, daemon, kind, by, said
) -> None:
    removal = schema.Act(
        act_id="ab" * 32,
        kind=kind,
        author="cd" * 32,
        peer_name=by,
        subject=None,
        chain="ef" * 16,
        seq=1,
        level=1,
        time=datetime(2026, 5, 1, 12, tzinfo=UTC),
    )
    removed = group(state="removed", credential=None, neighbors=[], removal=removal)
    daemon.will_answer("GET", "groups/pizza", removed)
    shown = peerd("group", "show", "pizza").stdout
    assert said in shown
    assert "waiting" not in shown


# --- set, connect, disconnect, delete -----------------------------------------------------------------------


def test_set_sends_only_what_was_given(peerd, daemon) -> None:
    daemon.will_answer("PATCH", "groups/pizza/properties", properties())
    outcome = peerd("group", "set", "pizza", "--comment", "", "--default-life", "12h")
    assert daemon.last.body == {"comment": "", "default_life_s": 43_200}
    assert "90d" in outcome.stdout


def test_set_says_how_the_group_renews(peerd, daemon) -> None:
    renewed = msgspec.structs.replace(properties(), renew_left=4, renew_valid_s=90 * 86_400)
    daemon.will_answer("PATCH", "groups/pizza/properties", renewed)
    words = ("--renew", "auto", "--renew-left", "4", "--renew-valid", "90d", "--renew-unseen", "7d")
    shown = peerd("group", "set", "pizza", *words).stdout
    given = {"renew_left": 4, "renew_valid_s": 90 * 86_400, "renew_unseen_s": 7 * 86_400}
    assert daemon.last.body == {"renew_auto": True, **given}
    assert "automatic, when 1/4 of the life is left, for 90d, if seen within 30d" in shown
    daemon.will_answer("PATCH", "groups/pizza/properties", msgspec.structs.replace(renewed, renew_auto=False))
    assert "renewal        off" in peerd("group", "set", "pizza", "--renew", "off").stdout
    assert daemon.last.body == {"renew_auto": False}
    assert peerd("group", "set", "pizza", "--renew-left", "1").exit_code == 2


def test_set_without_a_change_shows_the_properties(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza/properties", properties())
    assert peerd("group", "set", "pizza", "--json").json["default_life_s"] == 90 * 86_400


def test_connect_passes_addresses_and_only(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/connect", group())
    peerd("group", "connect", "pizza", "--address", "a:1", "--address", "[::1]:2", "--only")
    assert daemon.last.body == {"addresses": ["a:1", "[::1]:2"], "only": True}
    peerd("group", "connect", "pizza")
    assert daemon.last.body == {}


def test_disconnect_shows_the_group(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/disconnect", group(connected=False, neighbors=[]))
    assert peerd("group", "disconnect", "pizza", "--json").json["connected"] is False


def test_delete_says_which_one_is_gone(peerd, daemon) -> None:
    daemon.will_answer("DELETE", "groups/pizza", schema.GroupDeleted(group=PIZZA))
    assert peerd("group", "delete", "pizza").stdout == f"deleted {PIZZA}\n"


# --- join ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--group", PIZZA, "--invitation", "-")])
def test_join_needs_an_invitation_or_a_name_and_not_both(peerd, daemon, arguments) -> None:
    outcome = peerd("group", "join", *arguments)
    assert outcome.exit_code == 2
    assert not daemon.asked


def test_join_reads_the_invitation_from_a_file_or_standard_input(peerd, daemon, home: Path) -> None:
    daemon.will_answer("POST", "groups/join", group())
    (home / "invitation.xml").write_text("<PEERINVITATION>ü</PEERINVITATION>")
    peerd("group", "join", "--invitation", str(home / "invitation.xml"))
    assert daemon.last.body == {"invitation": "<PEERINVITATION>ü</PEERINVITATION>"}
    peerd("group", "join", "--invitation", "-", "--identity", "alice", stdin="<X/>")
    assert daemon.last.body == {"invitation": "<X/>", "identity": "alice"}


def test_join_by_name_passes_addresses(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/join", group(state="joining", gid=None, credential=None, neighbors=[]))
    outcome = peerd("group", "join", "--group", PIZZA, "--address", "a:1", "--only")
    assert daemon.last.body == {"group": PIZZA, "addresses": ["a:1"], "only": True}
    assert outcome.exit_code == 0
    assert "waiting" in outcome.stdout


def test_a_missing_or_oversized_invitation_is_a_usage_error(peerd, daemon, home: Path) -> None:
    (home / "large").write_bytes(b"x" * (128 * 1024 + 1))
    (home / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "large", "binary"):
        assert peerd("group", "join", "--invitation", str(home / name)).exit_code == 2
    assert not daemon.asked
