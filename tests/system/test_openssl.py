"""Chains as `peerd credential show --pem` prints them are good to a program that has never heard of peerd."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509

from tests.system.circle import Circle, circle_of

pytestmark = [pytest.mark.system, pytest.mark.slow]

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@pytest.fixture(scope="module")
def circle() -> Iterator[Circle]:
    with circle_of("carol") as made:
        credential = made.issue("bob", "--document", made.documents["carol"], "--role", "member", "--store")
        made.join("carol", made.bob)
        made.goes_by("carol", credential)
        yield made


def printed(circle: Circle, who: str) -> list[str]:
    """The chain of somebody's credential as carol's node prints it, root first."""
    grant_id = circle.seen_by(who)["credential"]["grant_id"]
    answer = circle.carol.type("credential", "show", "pizza", grant_id, "--pem")
    assert answer.code == 0
    chain = CERTIFICATE.findall(answer.out)
    assert "\n".join(part.strip() for part in chain) == answer.out.strip()
    return chain


def verifies(directory: Path, root: str, between: list[str], leaf: str, purpose: str) -> bool:
    """What openssl says; where it is missing, whether the names and signatures of the chain fit."""
    openssl = shutil.which("openssl")
    if openssl is None:
        chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in (root, *between, leaf)]
        return all(links(above, below) for above, below in pairwise(chain))
    for name, content in (("root", root), ("between", "".join(between)), ("leaf", leaf)):
        (directory / name).write_text(content)
    command = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root"]
    command += ["-untrusted", "between"] if between else []
    done = subprocess.run([*command, "leaf"], cwd=directory, capture_output=True)
    return done.returncode == 0


def links(above: x509.Certificate, below: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError):
        return False
    return True


@pytest.mark.parametrize(("who", "certificates"), [("alice", 2), ("bob", 3), ("carol", 4)])
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_a_printed_chain_verifies(
    circle: Circle, tmp_path: Path, who: str, certificates: int, purpose: str
) -> None:
    root, *between, leaf = printed(circle, who)
    assert 2 + len(between) == certificates
    assert verifies(tmp_path, root, between, leaf, purpose)


def test_a_printed_chain_does_not_verify_under_another_root_or_with_a_gap(
    circle: Circle, tmp_path: Path
) -> None:
    root, first, second, leaf = printed(circle, "carol")
    circle.bob.json("group", "create", "salad", "--recovery", str(tmp_path / "recovery.txt"))
    grant_id = circle.bob.json("group", "show", "salad")["credential"]["grant_id"]
    other_root = circle.bob.json("credential", "show", "salad", grant_id)["chain"][0]
    assert not verifies(tmp_path, other_root, [first, second], leaf, "sslclient")
    assert not verifies(tmp_path, root, [first], leaf, "sslclient")


def test_the_certificate_says_what_the_credential_says(circle: Circle) -> None:
    credential = circle.seen_by("carol")["credential"]
    leaf = x509.load_pem_x509_certificate(printed(circle, "carol")[-1].encode())
    assert f"{leaf.serial_number:x}" == credential["serial"]
    assert leaf.not_valid_before_utc.isoformat() == credential["not_before"].replace("Z", "+00:00")
    assert leaf.not_valid_after_utc.isoformat() == credential["not_after"].replace("Z", "+00:00")
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
