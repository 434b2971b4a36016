"""`peerd root`: what is asked of the daemon, what is printed, and that no secret goes anywhere else."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from peerd.cli import passphrase, recovery
from peerd.control import root_schema, schema
from tests.peerd.cli.fake_daemon import BOB, PIZZA, SINCE, credential

KEY, NEXT = "-".join(["ABCD"] * 14), ["-".join([word] * 14) for word in ("EFGH", "IJKL", "MNOP")]
KEY_ID, ACT = "5e" * 32, "7c" * 32
SECRET, NEWER = "four words or more", "and four words more"
BYTES = "k" * 300
ROTATE = ("root", "rotate", "pizza")


def root_key(**changes: Any) -> root_schema.RootKey:
    given = root_schema.RootKey(key_id=KEY_ID, operating=True, held=True, sealed=False, locked=False)
    return replace(given, **changes)


def root(**changes: Any) -> root_schema.Root:
    given = root_schema.Root(
        group=PIZZA,
        gid="cc" * 32,
        version=2,
        act_id=ACT,
        threshold=1,
        keys=[root_key(), root_key(key_id="6f" * 32, held=False)],
        history=[
            root_schema.RootVersion(
                version=2, act_id=ACT, time=SINCE, operating=[KEY_ID], threshold=1, cosigned=False
            )
        ],
        rivals=[],
    )
    return replace(given, **changes)


def rotated(**changes: Any) -> root_schema.RootRotated:
    given = root_schema.RootRotated(
        group=PIZZA,
        version=2,
        act_id=ACT,
        threshold=1,
        cosigned=False,
        credentials=[credential(live=False)],
        members_lost=[BOB],
    )
    return replace(given, **changes)


def carried(**changes: Any) -> root_schema.RootFile:
    given = root_schema.RootFile(
        file=BYTES,
        what="root-act",
        group=PIZZA,
        contents={
            "kind": "grant",
            "wants": {"subject": BOB, "roles": ["admin"], "adopts": []},
            "signers": [],
        },
        missing=[KEY_ID],
        signed_now=[],
    )
    return replace(given, **changes)


def drawn(keys: int = 1) -> schema.RecoveryKey:
    return schema.RecoveryKey(
        recovery_key=NEXT[0],
        recovery_token="token",
        expires=SINCE,
        recovery_keys=NEXT[:keys],
        recovery_set="1 of AAAA",
    )


@pytest.fixture
def rotating(daemon):
    daemon.will_answer("POST", "groups/recovery", drawn())
    daemon.will_answer("POST", "groups/pizza/root/rotate", rotated())
    return daemon


@pytest.fixture
def paper(home: Path) -> str:
    file = home / "pizza.key"
    file.write_text(f"# a note\n{KEY}\n")
    return str(file)


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is a terminal, as far as the program can see."""
    monkeypatch.setattr(passphrase, "stdin_is_terminal", lambda: True)
    monkeypatch.setattr("peerd.cli.root.stdin_is_terminal", lambda: True)


# --- showing and replacing --------------------------------------------------------------------------------


def test_the_root_is_shown_with_its_keys_and_history(peerd, daemon) -> None:
    daemon.will_answer("GET", "groups/pizza/root", root(rivals=["ee" * 32]))
    shown = peerd("root", "show", "pizza").stdout
    assert all(text in shown for text in (PIZZA, KEY_ID, ACT, "1 of 2 keys", "ee" * 32))
    assert peerd("root", "show", "pizza", "--json").json["version"] == 2


def test_the_next_recovery_key_is_in_its_file_before_the_root_is_replaced(
    peerd, rotating, home: Path, paper: str
) -> None:
    file = home / "next.key"
    seen: list[str] = []

    def made() -> root_schema.RootRotated:
        seen.append(file.read_text())
        return rotated()

    rotating.will_answer("POST", "groups/pizza/root/rotate", made)
    outcome = peerd(*ROTATE, "--with", paper, "--recovery", str(file))
    assert outcome.exit_code == 0
    assert f"# set: 1 of AAAA\n{NEXT[0]}\n" in seen[0]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert NEXT[0] not in outcome.stdout + outcome.stderr
    assert rotating.last.body == {
        "recovery_keys": [f"# a note\n{KEY}\n"],
        "recovery_token": "token",
        "recovery_delivered": True,
    }
    assert all(text in outcome.stdout for text in (ACT, BOB))


def test_every_wish_about_a_new_root_is_passed_on(peerd, rotating, home: Path, paper: str) -> None:
    rotating.will_answer("POST", "groups/recovery", drawn(3))
    made = home / "bob.root"
    made.write_text(f"# what it is\n{BYTES[:76]}\n{BYTES[76:]}\n")
    outcome = peerd(
        *(*ROTATE, "--with", paper, "--with", paper, "--recovery", str(home / "next.key")),
        *(
            "--key",
            str(made),
            "--key",
            "here",
            "--threshold",
            "2",
            "--without",
            "7c02",
            "--trust-clock",
            "--over-rival",
        ),
        *("--recovery-keys", "3", "--recovery-threshold", "2", "--keep-until", "2026-01-02T03:04:05Z"),
        *("--protect", "--passphrase-stdin"),
        stdin=f"{SECRET}\n",
    )
    assert outcome.exit_code == 0
    assert [asked.body for asked in rotating.asked] == [
        {"keys": 3, "threshold": 2},
        {
            "recovery_keys": [f"# a note\n{KEY}\n"] * 2,
            "recovery_token": "token",
            "recovery_delivered": True,
            "keys": [BYTES],
            "key_here": True,
            "threshold": 2,
            "new_passphrase": SECRET,
            "without": ["7c02"],
            "keep_until": "2026-01-02T03:04:05Z",
            "over_rival": True,
            "trust_clock": True,
        },
    ]
    assert "next-1.key" in outcome.stderr
    files = sorted(path.name for path in home.glob("next*"))
    assert files == ["next-1.key", "next-2.key", "next-3.key"]
    assert [NEXT[place] in (home / name).read_text() for place, name in enumerate(files)] == [True] * 3


def test_a_new_key_without_a_passphrase_is_pointed_out_where_the_old_one_had_one(
    peerd, rotating, home: Path, paper: str
) -> None:
    words = (*ROTATE, "--with", paper, "--recovery")
    assert "peerd root protect" not in peerd(*words, str(home / "1.key")).stderr
    rotating.will_answer("POST", "groups/pizza/root/rotate", rotated(unprotected=True))
    assert f"peerd root protect {PIZZA}" in peerd(*words, str(home / "2.key")).stderr


def test_a_dry_run_draws_no_key(peerd, rotating, paper: str) -> None:
    rotating.will_answer("POST", "groups/pizza/root/rotate", rotated(act_id=None))
    outcome = peerd(*ROTATE, "--with", paper, "--dry-run")
    assert outcome.exit_code == 0
    assert "would be root version" in outcome.stdout
    assert [asked.body for asked in rotating.asked] == [
        {"recovery_keys": [f"# a note\n{KEY}\n"], "dry_run": True}
    ]


@pytest.mark.usefixtures("on_terminal")
@pytest.mark.parametrize(("said", "code", "asked"), [("y\n", 0, 3), ("n\n", 1, 1)])
def test_on_a_terminal_it_is_shown_and_asked_first(
    peerd, rotating, home: Path, paper: str, said: str, code: int, asked: int
) -> None:
    rotating.will_answer("POST", "groups/pizza/root/rotate", rotated(act_id=None), rotated())
    outcome = peerd(*ROTATE, "--with", paper, "--recovery", str(home / "next.key"), stdin=said)
    assert (outcome.exit_code, len(rotating.asked)) == (code, asked)
    assert BOB in outcome.stderr
    assert (home / "next.key").exists() == (code == 0)


def test_without_a_place_for_the_next_key_nothing_is_asked(peerd, rotating, home: Path, paper: str) -> None:
    outcome = peerd(*ROTATE, "--with", paper)
    assert outcome.exit_code == 2
    assert "new root has a recovery key" in outcome.stderr
    assert peerd(*ROTATE, "--with", paper, "--recovery", paper).exit_code == 6
    assert peerd(*ROTATE, "--with", str(home / "nowhere")).exit_code == 2
    assert not rotating.asked


def test_json_holds_the_next_keys_when_no_file_does(peerd, rotating, home: Path, paper: str) -> None:
    reply = peerd(*ROTATE, "--with", "-", "--json", stdin=KEY).json
    assert (reply["recovery_key"], reply["recovery_keys"]) == (NEXT[0], NEXT[:1])
    assert reply["recovery_set"] == "1 of AAAA"
    reply = peerd(*ROTATE, "--with", paper, "--json", "--recovery", str(home / "next.key")).json
    assert "recovery_key" not in reply


def test_a_terminal_shows_the_next_keys_first_and_calls_them_useless_when_refused(
    peerd, rotating, paper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "terminal_width", lambda: 80)
    outcome = peerd(*ROTATE, "--with", paper)
    assert outcome.stdout.index(NEXT[0]) < outcome.stdout.index(ACT)
    assert "new root" in outcome.stdout
    rotating.will_answer("POST", "groups/recovery", drawn(2))
    rotating.will_refuse("POST", "groups/pizza/root/rotate", "not-authorized")
    outcome = peerd(*ROTATE, "--with", paper, "--recovery-keys", "2")
    assert outcome.exit_code == 5
    assert "# set: 1 of AAAA" in outcome.stdout
    assert "No root was made" in outcome.stderr


@pytest.mark.parametrize("slug", ["not-authorized", "internal"])
def test_a_refusal_leaves_the_files_of_keys_only_while_it_is_uncertain(
    peerd, rotating, home: Path, paper: str, slug: str
) -> None:
    rotating.will_answer("POST", "groups/recovery", drawn(2))
    rotating.will_refuse("POST", "groups/pizza/root/rotate", slug)
    peerd(*ROTATE, "--with", paper, "--recovery", str(home / "n.key"), "--recovery-keys", "2")
    assert len(list(home.glob("n-*.key"))) == (2 if slug == "internal" else 0)


# --- files that are carried -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("key",), {"key": True}),
        (
            ("grant", "bob", "--role", "admin", "--valid", "30d", "--signer", "5e", "--signer", "6f"),
            {
                "grant": {
                    "subject": "bob",
                    "role": "admin",
                    "valid_s": 30 * 86_400,
                    "store": True,
                    "as_root": True,
                },
                "signers": ["5e", "6f"],
            },
        ),
        (
            ("revoke", "bob", "--key", "--reason", "lost", "--data", "drop"),
            {"revoke": {"member": "bob", "for_ever": True, "reason": "lost", "data": "drop"}},
        ),
        (("revoke", "bob"), {"revoke": {"member": "bob"}}),
        (("annul", "7c02"), {"annul": "7c02"}),
        (
            ("properties", "--comment", "Fridays", "--default-life", "30d", "--renew", "off"),
            {"properties": {"comment": "Fridays", "default_life_s": 30 * 86_400, "renew_auto": False}},
        ),
    ],
)
def test_what_is_prepared_goes_into_a_file(peerd, daemon, home: Path, words, body) -> None:
    daemon.will_answer("POST", "groups/pizza/root/prepare", carried())
    file = home / "carry.root"
    outcome = peerd("root", "prepare", "pizza", *words, "--out", str(file))
    assert outcome.exit_code == 0
    assert daemon.last.body == body
    text = file.read_text()
    assert "".join(line for line in text.splitlines() if not line.startswith("#")) == BYTES
    assert f"# subject: {BOB}" in text
    assert max(map(len, text.splitlines())) < 200
    assert BOB in outcome.stdout


def test_a_prepared_rotation_settles_the_place_of_its_recovery_key_first(
    peerd, daemon, home: Path, paper: str
) -> None:
    daemon.will_answer("POST", "groups/recovery", drawn())
    daemon.will_answer("POST", "groups/pizza/root/prepare", carried())
    made = home / "bob.root"
    made.write_text(BYTES)
    words = ("root", "prepare", "pizza", "rotate", "--recovery-set", paper, "--key", str(made))
    assert peerd(*words, "--out", str(home / "out")).exit_code == 2
    assert not daemon.asked
    outcome = peerd(*words, "--out", str(home / "out"), "--recovery", str(home / "next.key"))
    assert outcome.exit_code == 0
    assert NEXT[0] in (home / "next.key").read_text()
    assert daemon.last.body == {
        "rotate": {
            "recovery_set": f"# a note\n{KEY}\n",
            "recovery_token": "token",
            "recovery_delivered": True,
            "keys": [BYTES],
        }
    }


@pytest.fixture
def file(home: Path) -> Path:
    path = home / "act.root"
    path.write_text(f"# anything\n{BYTES}\n")
    return path


def test_a_file_is_signed_in_its_place_or_into_another(
    peerd, daemon, home: Path, file: Path, paper: str
) -> None:
    daemon.will_answer("POST", "root/sign", carried(file="x" * 200, missing=[], signed_now=[KEY_ID]))
    outcome = peerd("root", "sign", str(file), "--with", paper, "--out", str(home / "out"))
    assert (outcome.exit_code, daemon.last.body) == (
        0,
        {"file": BYTES, "recovery_keys": [f"# a note\n{KEY}\n"]},
    )
    assert BYTES in file.read_text()
    assert "x" * 76 in (home / "out").read_text()
    assert peerd("root", "sign", str(file), "--json").json["signed_now"] == [KEY_ID]
    assert "x" * 76 in file.read_text()


@pytest.mark.usefixtures("on_terminal")
def test_on_a_terminal_it_is_shown_what_is_signed(peerd, daemon, file: Path) -> None:
    daemon.will_answer("POST", "root/sign", carried(), carried(missing=[]))
    before = file.read_text()
    outcome = peerd("root", "sign", str(file), stdin="n\n")
    assert (outcome.exit_code, file.read_text()) == (1, before)
    assert BOB in outcome.stderr
    assert daemon.last.body == {"file": BYTES, "dry_run": True}
    assert peerd("root", "sign", str(file), "--yes").exit_code == 0


@pytest.mark.usefixtures("on_terminal")
def test_a_terminal_is_asked_for_a_passphrase_that_is_needed(peerd, daemon, file: Path) -> None:
    needed = schema.Problem(slug="passphrase-needed", title="T", status=403, detail="d")
    daemon.will_answer("POST", "root/sign", needed, carried(missing=[]))
    outcome = peerd("root", "sign", str(file), "--yes", stdin=f"{SECRET}\n")
    assert outcome.exit_code == 0
    assert daemon.last.body == {"file": BYTES, "passphrase": SECRET}
    assert SECRET not in outcome.stdout + outcome.stderr


def test_a_new_key_can_be_made_under_a_passphrase(peerd, daemon, file: Path) -> None:
    daemon.will_answer("POST", "root/sign", carried(what="root-key", missing=[]))
    words = ("root", "sign", str(file), "--protect")
    assert peerd(*words).exit_code == 2
    assert peerd(*words, "--passphrase-stdin").exit_code == 2
    outcome = peerd(*words, "--passphrase-stdin", stdin=f"{SECRET}\n")
    assert daemon.last.body == {"file": BYTES, "new_passphrase": SECRET}
    assert f"peerd root rotate {PIZZA}" in outcome.stdout


def test_what_is_signed_is_brought_back(peerd, daemon, file: Path) -> None:
    done = root_schema.RootImported(
        group=PIZZA, act_ids=[ACT], fresh=True, credentials=[credential()], version=3
    )
    daemon.will_answer("POST", "groups/pizza/root/import", done)
    shown = peerd("root", "import", "pizza", str(file)).stdout
    assert all(text in shown for text in (ACT, BOB, "root version"))
    assert daemon.last.body == {"file": BYTES}
    file.write_text("# nothing but notes\n")
    assert peerd("root", "import", "pizza", str(file)).exit_code == 2


# --- passphrases ------------------------------------------------------------------------------------------


def keys(**changes: Any) -> root_schema.RootKeys:
    return root_schema.RootKeys(gid="cc" * 32, keys=[root_key(**changes)])


@pytest.mark.parametrize(
    ("words", "said", "body"),
    [
        ((), f"{SECRET}\n", {"new_passphrase": SECRET}),
        ((), f"{SECRET}\n{NEWER}\n", {"passphrase": SECRET, "new_passphrase": NEWER}),
        (("--off",), f"{SECRET}\n", {"passphrase": SECRET}),
        ((), "", None),
        (("--off",), f"{SECRET}\n{NEWER}\n", None),
        ((), "a\nb\nc\n", None),
    ],
)
def test_passphrases_are_lines_of_standard_input(peerd, daemon, words, said, body) -> None:
    daemon.will_answer("POST", "groups/pizza/root/protect", keys(sealed=True, locked=True))
    outcome = peerd("root", "protect", "pizza", *words, "--passphrase-stdin", stdin=said)
    assert [asked.body for asked in daemon.asked] == ([] if body is None else [body])
    assert outcome.exit_code == (2 if body is None else 0)
    assert SECRET not in outcome.stdout + outcome.stderr


@pytest.mark.usefixtures("on_terminal")
def test_a_terminal_is_asked_twice_for_the_new_and_once_for_the_old(peerd, daemon) -> None:
    needed = schema.Problem(slug="passphrase-needed", title="T", status=403, detail="d")
    daemon.will_answer("POST", "groups/pizza/root/protect", needed, keys(sealed=True, locked=True))
    outcome = peerd("root", "protect", "pizza", stdin=f"{NEWER}\n{NEWER}\n{SECRET}\n")
    assert outcome.exit_code == 0
    assert daemon.last.body == {"passphrase": SECRET, "new_passphrase": NEWER}
    assert "locked" in outcome.stdout
    asked = len(daemon.asked)
    assert peerd("root", "protect", "pizza", stdin=f"{NEWER}\n{SECRET}\n").exit_code == 2
    assert len(daemon.asked) == asked


def test_without_a_terminal_or_a_line_there_is_no_passphrase(peerd, daemon) -> None:
    for words in (("protect",), ("unlock",), ("unlock", "--passphrase-stdin")):
        assert peerd("root", words[0], "pizza", *words[1:]).exit_code == 2
    assert not daemon.asked


def test_unlocking_and_locking(peerd, daemon) -> None:
    daemon.will_answer("POST", "groups/pizza/root/unlock", keys(sealed=True))
    daemon.will_answer("POST", "groups/pizza/root/lock", keys(sealed=True, locked=True), keys())
    assert "unlocked" in peerd("root", "unlock", "pizza", "--passphrase-stdin", stdin=SECRET).stdout
    assert daemon.last.body == {"passphrase": SECRET}
    assert peerd("root", "lock", "pizza", "--json").json["keys"][0]["locked"]
    assert "peerd root protect pizza" in peerd("root", "lock", "pizza").stderr
    daemon.will_refuse("POST", "groups/pizza/root/unlock", "wrong-passphrase")
    assert peerd("root", "unlock", "pizza", "--passphrase-stdin", stdin="no\n").exit_code == 5


@pytest.mark.parametrize(
    ("words", "path", "reply"),
    [
        (
            ("credential", "issue", "pizza", "bob", "--store", "--as-root"),
            "groups/pizza/credentials",
            schema.CredentialIssued(credential=credential()),
        ),
        (
            ("credential", "adopt", "pizza", "3f", "--as-root"),
            "groups/pizza/credentials",
            schema.CredentialIssued(credential=credential()),
        ),
        (
            ("invitation", "create", "pizza", "bob", "--as-root"),
            "groups/pizza/invitations",
            schema.CredentialIssued(credential=credential(), invitation="<PEERINVITATION/>"),
        ),
    ],
)
def test_whatever_the_root_key_signs_takes_a_passphrase(peerd, daemon, words, path, reply) -> None:
    daemon.will_answer("POST", path, reply)
    assert peerd(*words, "--passphrase-stdin", stdin=f"{SECRET}\n").exit_code == 0
    assert daemon.last.body["passphrase"] == SECRET
    daemon.will_refuse("POST", path, "passphrase-needed")
    assert peerd(*words).exit_code == 5
    assert "passphrase" not in daemon.last.body


def test_properties_and_removals_by_the_root_take_a_passphrase(peerd, daemon) -> None:
    from tests.peerd.cli.test_group import properties
    from tests.peerd.cli.test_removal import REVOKE, removed

    daemon.will_answer("PATCH", "groups/pizza/properties", properties())
    daemon.will_answer("POST", REVOKE, removed())
    daemon.will_answer("POST", "groups/pizza/acts/7c/annul", removed(kind="annul"))
    for words in (
        ("group", "set", "pizza", "--comment", "x"),
        ("member", "revoke", "pizza", "bob", "--as-root"),
        ("credential", "annul", "pizza", "7c", "--as-root"),
    ):
        assert peerd(*words, "--passphrase-stdin", stdin=f"{SECRET}\n").exit_code == 0
        assert daemon.last.body["passphrase"] == SECRET


@pytest.mark.usefixtures("on_terminal")
def test_a_removal_asks_for_the_passphrase_once(peerd, daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.peerd.cli.test_removal import REVOKE, TRIED, removed

    monkeypatch.setattr("peerd.cli.removal._stdin_is_terminal", lambda: True)
    needed = schema.Problem(slug="passphrase-needed", title="T", status=403, detail="d")
    daemon.will_answer("POST", REVOKE, needed, TRIED, removed())
    outcome = peerd("member", "revoke", "pizza", "bob", "--as-root", stdin=f"{SECRET}\ny\n")
    assert outcome.exit_code == 0
    said = [asked.body.get("passphrase") for asked in daemon.asked]
    assert said == [None, SECRET, SECRET]
