#!/usr/bin/env python3
"""Put errors into rules that decide, one at a time, and print whether their tests see each: records, rates,
the custody of the root.

python -m scripts.mutants                      every rule dropped, every comparison turned, every condition …
python -m scripts.mutants --every 12 order     every twelfth of one module
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import pytest

from protocol.authority import (
    bundle,
    kept,
    removal_proof,
    root_acts,
    root_certificates,
    root_documents,
    root_drafts,
)
from protocol.machines import act_rates, custody, delayed_acts, evidence
from protocol.records import admission, order
from tests.support.mutants import mutants_of

RECORDS = "tests/protocol/records"
MACHINES = "tests/protocol/machines"
AUTHORITY = "tests/protocol/authority"
TESTS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not long"]
SECONDS_MAX = 120


@dataclass(frozen=True)
class Subject:
    """A module, and the tests that have to see an error in it. `same` are mutants that mean the same."""

    module: ModuleType
    tests: tuple[str, ...]
    rules: str | None = None
    same: tuple[str, ...] = ()


SUBJECTS = {
    "admission": Subject(
        admission,
        (f"{RECORDS}/test_admission.py",),
        "RECORD_RULES",
        same=("_stands: never not hits",),  # without hits there are no voids either
    ),
    "order": Subject(
        order,
        (f"{RECORDS}/test_order.py",),
        same=("kept: order_key(version) > order_key(known) turned",),  # no two versions have one key
    ),
    "act_rates": Subject(
        act_rates,
        (f"{MACHINES}/test_act_rates.py",),
        same=(  # all days are added up where it need not be
            "_Account.has_room_for: never known <= today and"
            " _fits(issued and issued_at_most + issued, all_at_most + in_all)",
            "_Account.has_room_for: known <= today turned",
            "_Account.has_room_for: without issued",
        ),
    ),
    "delayed_acts": Subject(delayed_acts, (f"{MACHINES}/test_delayed_acts.py",)),
    "evidence": Subject(
        evidence,
        (f"{MACHINES}/test_evidence.py",),
        same=("rival_of: without head.seq < place.seq",),  # the chain is searched for nothing
    ),
    "kept": Subject(
        kept,
        (f"{AUTHORITY}/test_kept.py",),
        same=("KeptTree.proof: sibling < place turned",),  # nothing is its own sibling
    ),
    "removal_proof": Subject(removal_proof, (f"{AUTHORITY}/test_removal_proof.py",)),
    "root_certificates": Subject(root_certificates, (f"{AUTHORITY}/test_root_certificates.py",)),
    "root_documents": Subject(root_documents, (f"{AUTHORITY}/test_root_documents.py",)),
    "root_drafts": Subject(
        root_drafts,
        (f"{AUTHORITY}/test_root_drafts.py",),
        "DRAFT_RULES",
        same=(
            "sign_draft: never pid not in draft.missing",  # a key signs the same bytes again
            "decode_untrusted_draft: without reason is None",  # what is refused is verified besides
        ),
    ),
    "root_acts": Subject(
        root_acts,
        (f"{AUTHORITY}/test_root_acts.py",),
        same=(
            "prepare: no assert_never(wish)",  # for types
            "_draft: never not isinstance(verdict, Valid)",  # a last guard
        ),
    ),
    "bundle": Subject(
        bundle,
        tuple(f"{AUTHORITY}/test_bundle{part}.py" for part in ("_rotations", "_stands", "")),
        same=("path_evidence: without leaf_der is not None",),  # nothing in the place of nothing
    ),
    "custody": Subject(
        custody,
        (f"{MACHINES}/test_custody.py",),
        same=(  # a draft holds one act
            "Custody.take_in: any((view.admitted(act.id) is None for act in acts)) swapped",
        ),
    ),
}


@dataclass(frozen=True)
class Error:
    """One error: what it is, and how it is put in place."""

    what: str
    in_place: Callable[[], AbstractContextManager[None]]


def main(arguments: Sequence[str]) -> int:
    """Try every error; 1 if one is not seen."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("HYPOTHESIS_PROFILE", "dev")
    survivors = tried = 0
    for name in options.modules or SUBJECTS:
        subject = SUBJECTS[name]
        if not passes(subject.tests):
            print(f"{name}: its tests fail as it is")
            return 1
        for error in list(errors_of(subject))[:: options.every]:
            tried += 1
            if error.what in subject.same:
                outcome = "means the same"
            elif is_seen(error, subject.tests):
                outcome = "caught"
            else:
                survivors += 1
                outcome = "SURVIVES"
            print(f"{name:<12} {outcome:<14} {error.what}", flush=True)
    print(f"{tried} mutants, {survivors} not caught")
    return 1 if survivors else 0


def errors_of(subject: Subject) -> Iterator[Error]:
    """Each rule dropped, then each change to a function."""
    if subject.rules is not None:
        for rule in getattr(subject.module, subject.rules):
            yield Error(f"without the rule {rule.__name__}", partial(_without, subject, rule))
    for mutant in mutants_of(subject.module):
        yield Error(f"{mutant.qualname}: {mutant.what.partition(': ')[2]}", mutant.in_place)


@contextmanager
def _without(subject: Subject, rule: object) -> Iterator[None]:
    assert subject.rules is not None
    rules = getattr(subject.module, subject.rules)
    setattr(subject.module, subject.rules, tuple(one for one in rules if one is not rule))
    try:
        yield
    finally:
        setattr(subject.module, subject.rules, rules)


def is_seen(error: Error, tests: Sequence[str]) -> bool:
    """Whether a test fails with the error in place, or does not come to an end."""
    with error.in_place():
        return not passes(tests)


def passes(tests: Sequence[str]) -> bool:
    """Run tests in a process of their own, which has the same errors in place."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            code = int(pytest.main([*TESTS, f"--timeout={SECONDS_MAX}", *tests]))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", choices=[*SUBJECTS, []], help=f"some of {', '.join(SUBJECTS)}")
    parser.add_argument("--every", type=int, default=1, help="try only every so manieth")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
