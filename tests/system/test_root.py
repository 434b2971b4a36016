"""The root by hand: its machine lost, its key stolen, its keys on several machines, its key under a
passphrase; typed at real daemons.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peerd.clock import pause, steady_s
from tests.system.circle import Circle
from tests.system.people import Person, people

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(180)]

WAIT_S_MAX = 30
SECRET, OTHER = "four words or more", "four other words"


@pytest.fixture
def circle() -> Iterator[Circle]:
    """alice founded the group; bob is its second administrator, carol a member; the others are not in it."""
    with people("alice", "bob", "carol", "mallory", "vault") as cast:
        made = Circle({person.name: person for person in cast})
        for person in cast:
            _, document = person.identify(person.name)
            made.keep_document(person.name, document)
        made.group = made.alice.json("group", "create", "pizza", "--recovery", paper(made))["group"]
        made.admit("bob", "--role", "admin")
        made.admit("carol")
        made.spread_to("bob")
        yield made


def paper(circle: Circle, name: str = "pizza.key") -> str:
    """Where a recovery key is kept: in no home."""
    return str(circle.alice.home.with_name(name))


def until(holds: Callable[[], bool]) -> None:
    at_s = steady_s() + WAIT_S_MAX
    while not holds():
        assert steady_s() < at_s, "it did not happen"
        pause(0.05)


def everything_in(person: Person) -> str:
    """All that a home holds, its daemon's log too."""
    files = [path for path in person.home.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode(errors="replace") for path in files)


def root(person: Person) -> dict[str, Any]:
    found = person.json("root", "show", "pizza")
    assert isinstance(found, dict)
    return found


def members(person: Person) -> set[str]:
    listed = person.json("member", "list", "pizza")["members"]
    return {one["peer_name"].rpartition(".")[2] for one in listed if one["state"] == "member"}


def rotate(circle: Circle, name: str, used: str, following: str, *words: str) -> dict[str, Any]:
    done = circle.cast[name].json(
        *("root", "rotate", "pizza", "--with", paper(circle, used)),
        *("--recovery", paper(circle, following), *words),
    )
    assert isinstance(done, dict)
    return done


def test_the_creators_machine_is_lost_and_another_administrator_goes_on_as_the_root(circle: Circle) -> None:
    circle.alice.stop()
    log = circle.alice.log()
    shutil.rmtree(circle.alice.home)
    circle.alice.home.mkdir(mode=0o700)
    (circle.alice.home / "daemon.log").write_text(log)  # shown where a test fails; nothing else is left
    code, problem = circle.bob.refusal("credential", "issue", "pizza", "carol", "--store", "--as-root")
    assert (code, problem["type"]) == (5, "no-key-access")
    assert "peerd root rotate" in problem["hint"]
    code, problem = circle.bob.refusal("root", "rotate", "pizza", "--with", circle.documents["bob"], "--json")
    assert (code, problem["type"]) == (1, "invalid-argument")
    done = rotate(circle, "bob", "pizza.key", "next.key")
    assert (done["version"], done["members_lost"]) == (2, [])
    assert "recovery_key" not in done
    assert oct(Path(paper(circle, "next.key")).stat().st_mode)[-3:] == "600"
    kept = everything_in(circle.bob)
    for name in ("pizza.key", "next.key"):
        *_, key = Path(paper(circle, name)).read_text().split()
        assert len(key) == 69
        assert key not in kept
    until(lambda: root(circle.carol)["version"] == 2)
    issued = circle.issue("bob", "carol", "--role", "admin", "--store", "--as-root")
    assert (issued["level"], issued["issuer"]) == (1, circle.group)
    circle.goes_by("carol", issued)
    chain = circle.carol.json("credential", "show", "pizza", issued["grant_id"])["chain"]
    assert len(chain) == 2
    circle.bob.stop()
    circle.bob.start()
    assert root(circle.bob)["version"] == 2
    assert [key["held"] for key in root(circle.bob)["keys"] if key["operating"]] == [True]


def test_who_joins_after_two_rotations_knows_nothing_but_the_groups_name(circle: Circle) -> None:
    rotate(circle, "bob", "pizza.key", "2.key")
    rotate(circle, "alice", "2.key", "3.key")
    until(lambda: root(circle.bob)["version"] == 3)
    circle.issue("alice", "--document", circle.documents["vault"], "--store", "--as-root")
    circle.join("vault", circle.bob)
    assert root(circle.vault)["version"] == 3
    assert [one["version"] for one in root(circle.vault)["history"]] == [1, 2, 3]


def test_the_thief_of_the_root_key_is_thrown_out_everywhere(circle: Circle) -> None:
    (key,) = (circle.alice.home / "root").iterdir()
    shutil.copy(key, circle.carol.home / "root")
    let_in = circle.issue("carol", "--document", circle.documents["mallory"], "--role", "admin", "--store",
                          "--as-root")  # fmt: skip
    circle.join("mallory", circle.carol)
    mallory = circle.cast["mallory"]
    by_mallory = circle.issue("mallory", "--document", circle.documents["vault"], "--store")
    until(lambda: {"mallory", "vault"} <= known(circle.bob))
    acts = circle.bob.json("audit", "pizza")["acts"]
    stolen = next(act for act in acts if act["act_id"] == let_in["grant_id"])
    assert stolen["level"] == 0
    words = ("--without", stolen["act_id"][:16])
    tried = circle.bob.json("root", "rotate", "pizza", "--with", paper(circle), *words, "--dry-run")
    assert tried["act_id"] is None
    assert {one["grant_id"] for one in tried["credentials"]} == {let_in["grant_id"], by_mallory["grant_id"]}
    assert root(circle.bob)["version"] == 1
    done = rotate(circle, "bob", "pizza.key", "next.key", *words)
    assert {name.rpartition(".")[2] for name in done["members_lost"]} >= {"mallory"}
    for name in ("alice", "bob", "carol"):
        until(lambda name=name: members(circle.cast[name]) == {"alice", "bob", "carol"})  # type: ignore[misc]
    until(lambda: not mallory.json("group", "show", "pizza")["neighbors"])
    code, problem = circle.carol.refusal("credential", "issue", "pizza", "carol", "--store", "--as-root")
    assert (code, problem["type"]) == (5, "no-key-access")
    code, problem = circle.bob.refusal(
        "root", "rotate", "pizza", "--with", paper(circle), "--recovery", paper(circle, "third.key")
    )
    assert problem["type"] == "root-changed"
    assert not Path(paper(circle, "third.key")).exists()
    issued = circle.issue("bob", "carol", "--store", "--as-root")
    circle.goes_by("carol", issued)


def known(person: Person) -> set[str]:
    return {one["peer_name"].rpartition(".")[2] for one in person.json("member", "list", "pizza")["members"]}


def test_three_machines_hold_the_root_one_of_them_offline_and_two_sign(circle: Circle) -> None:
    carry = circle.alice.home.with_name("carry.root")
    files = []
    for name in ("alice", "bob", "vault"):
        file = circle.alice.home.with_name(f"{name}.root")
        circle.bob.json("root", "prepare", "pizza", "key", "--out", str(file))
        assert circle.cast[name].json("root", "sign", str(file))["what"] == "root-key"
        files += ["--key", str(file)]
    done = rotate(circle, "bob", "pizza.key", "next.key", *files, "--threshold", "2")
    assert (done["version"], done["threshold"]) == (2, 2)
    assert circle.vault.json("group", "list")["groups"] == []
    operating = sorted(key["key_id"] for key in root(circle.bob)["keys"] if key["operating"])
    holder = {made_by(circle, name): name for name in ("alice", "bob", "vault")}
    first, other = (key for key in operating if holder[key] != "alice")
    circle.bob.json(
        *("root", "prepare", "pizza", "grant", "carol", "--role", "admin", "--out", str(carry)),
        *("--signer", first, "--signer", other[:16]),
    )
    assert "# subject: " in carry.read_text()
    code, problem = circle.bob.refusal("root", "import", "pizza", str(carry))
    assert (code, problem["type"]) == (1, "signature-missing")
    code, problem = circle.alice.refusal("root", "sign", str(carry))
    assert (code, problem["type"]) == (5, "no-key-access")
    code, problem = circle.cast[holder[other]].refusal("root", "sign", str(carry))
    assert problem["type"] == "signature-missing"
    assert circle.cast[holder[first]].json("root", "sign", str(carry))["missing"] == [other]
    assert circle.cast[holder[other]].json("root", "sign", str(carry))["missing"] == []
    brought = circle.bob.json("root", "import", "pizza", str(carry))
    (admitted,) = [one for one in brought["credentials"] if one["level"] == 1 and one["live"]]
    circle.goes_by("carol", admitted)
    back = rotate(circle, "alice", "next.key", "third.key")
    assert (back["version"], back["threshold"], back["members_lost"]) == (3, 1, [])
    until(lambda: root(circle.carol)["version"] == 3)
    circle.goes_by("carol", circle.issue("alice", "carol", "--store", "--as-root"))


def made_by(circle: Circle, name: str) -> str:
    """The newest root key in somebody's home: the one that was made there on request."""
    gid = root(circle.bob)["gid"]
    kept = circle.cast[name].json("root", "lock", gid)["keys"]
    operating = {key["key_id"] for key in root(circle.bob)["keys"] if key["operating"]}
    (key,) = [key["key_id"] for key in kept if key["key_id"] in operating]
    assert isinstance(key, str)
    return key


def test_a_root_key_under_a_passphrase_signs_for_nobody_who_does_not_know_it(circle: Circle) -> None:
    alice = circle.alice
    protected = alice.json("root", "protect", "pizza", "--passphrase-stdin", stdin=f"{SECRET}\n")
    assert [key["locked"] for key in protected["keys"]] == [True]
    (file,) = (alice.home / "root").iterdir()
    assert b"PRIVATE KEY" not in file.read_bytes()
    issue = ("credential", "issue", "pizza", "carol", "--store", "--as-root")
    code, problem = alice.refusal(*issue)
    assert (code, problem["type"]) == (5, "passphrase-needed")
    assert "peerd root unlock" in problem["hint"]
    code, problem = alice.refusal(*issue, "--passphrase-stdin", stdin=f"{OTHER}\n")
    assert (code, problem["type"]) == (5, "wrong-passphrase")
    alice.json(*issue, "--passphrase-stdin", stdin=f"{SECRET}\n")
    alice.refusal(*issue)
    alice.json("root", "unlock", "pizza", "--passphrase-stdin", stdin=f"{SECRET}\n")
    alice.json(*issue)
    alice.stop()
    alice.start()
    alice.refusal(*issue)
    alice.json("root", "unlock", "pizza", "--passphrase-stdin", stdin=f"{SECRET}\n")
    alice.json("root", "lock", "pizza")
    alice.refusal(*issue)
    assert SECRET not in everything_in(alice)


def test_a_daemon_unlocks_its_root_keys_by_a_file_at_its_start(circle: Circle) -> None:
    alice = circle.alice
    alice.json("root", "protect", "pizza", "--passphrase-stdin", stdin=f"{SECRET}\n")
    alice.stop()
    file = alice.home.with_name("secret")
    file.touch(mode=0o600)
    file.write_text(f"{SECRET}\n")
    alice.run_options = ("--unlock", str(file))
    alice.start()
    assert [key["locked"] for key in root(alice)["keys"]] == [False]
    alice.json("credential", "issue", "pizza", "carol", "--store", "--as-root")
    alice.stop()
    file.chmod(0o644)
    answer = alice.type("run", "--listen", "127.0.0.1:0", "--unlock", str(file))
    assert answer.code == 1
    assert "chmod 600" in answer.err
    file.chmod(0o600)
    file.write_text(f"{OTHER}\n")
    answer = alice.type("run", "--listen", "127.0.0.1:0", "--unlock", str(file))
    assert answer.code == 1
    assert "none of the passphrases" in answer.err
    alice.run_options = ()
    alice.start()
