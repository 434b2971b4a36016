"""Commands: what the user of a group wants, decided, signed and taken in.

All or nothing: what a rule refuses raises RuleError before anything has changed. What is accepted is taken in
like everything else (sets.py), and the answer is a `Result`.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import assert_never

from protocol.authority.acts import Act
from protocol.authority.bundle import make_bundle
from protocol.authority.elements import Element
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.machines.custody import Custody
from protocol.machines.events import (
    AddRecord,
    Adopt,
    Annul,
    Command,
    DeleteRecord,
    Import,
    Imported,
    ImportRootActs,
    Issue,
    Issued,
    LearnRemoval,
    Output,
    Removed,
    Resign,
    Result,
    Revoke,
    RotateRoot,
    SetProperties,
    UpdateRecord,
)
from protocol.machines.issue import Issuing
from protocol.machines.removal import Removing
from protocol.machines.sets import Sets
from protocol.machines.upkeep import Seen, Upkeep
from protocol.peer_time import Moment
from protocol.records.record_set import GroupSet


class Commands:
    """Carries out the commands of one group's user."""

    def __init__(self, own: PrivateKey, sets: Sets, rng: random.Random) -> None:
        """`rng` draws chains and ids."""
        self._sets = sets
        self._issuing = Issuing(own, rng, sets.members.rates)
        self._custody = Custody(sets, rng)
        self._removing = Removing(own, rng, sets.members.rates)

    def handle(self, command: Command, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """Do what is wanted. Raises: RuleError, with nothing changed."""
        view = self._sets.view
        self._check_not_removed(command, now)
        match command:
            case Adopt():
                self._sets.absorb(
                    self._sets.members.adopt(command.bundle, now, store), None, now, store, outputs
                )
                outputs.append(Result(None))
            case LearnRemoval():
                self._sets.members.learn_removal(command.proof, now, store)
                outputs.append(Result(None))
            case Issue():
                outputs.append(Result(self._issue(command, now, store, outputs)))
            case SetProperties():
                self._publish(self._issuing.set_properties(command, view, now, store), now, store, outputs)
                outputs.append(Result(None))
            case Revoke():
                act = self._revoke(command, now, store, outputs)
                self._answer(act, now, store, outputs)
            case Resign():
                self._answer(self._removing.resign(command, view, now, store), now, store, outputs)
            case Annul():
                self._answer(self._removing.annul(command, view, now, store), now, store, outputs)
            case RotateRoot():
                outputs.append(Result(self._custody.rotate(command, now, store, outputs)))
            case ImportRootActs():
                outputs.append(Result(self._custody.take_in(command, now, store, outputs)))
            case AddRecord() | UpdateRecord() | DeleteRecord():
                self._on_write(command, now, store, outputs)
            case Import():
                self._on_import(command, now, store, outputs)
            case _:
                assert_never(command)

    def _check_not_removed(self, command: Command, now: Moment) -> None:
        """Raises: RuleError, when we were told of our removal: what we sign as a member would count nowhere,
        though AUTH does not say so here. What the root signs counts.
        """
        if not isinstance(command, Issue | Revoke | Resign | Annul) or getattr(command, "root", None):
            return
        removal = self._sets.members.own_removal(now.utc_s)
        if removal is not None and self._sets.members.told_removal(removal) is not None:
            raise RuleError(
                "not-authorized",
                "this identity has been removed from the group",
                hint="peerd group show GROUP says by whom",
            )

    def _publish(self, act: Act, now: Moment, store: GroupSet, outputs: list[Output]) -> tuple[bytes, ...]:
        """Put an act of our own into AUTH; the grants whose standing it changes."""
        intake = self._sets.members.take([act], None, now, store)
        assert act in intake.fresh, intake
        return self._sets.absorb(intake, None, now, store, outputs)

    def _answer(self, act: Act, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        outputs.append(Result(Removed(act.id, self._publish(act, now, store, outputs))))

    def _revoke(self, event: Revoke, now: Moment, store: GroupSet, outputs: list[Output]) -> Act:
        """Sign a revocation, behind the list of the versions that stay if there is one."""
        plan = self._removing.plan(event, self._sets.view, now)
        manifest = None
        if event.data == "manifest":
            grant = self._sets.usable_grant(now)
            records, manifest = self._sets.data.write_manifest(event.pid, grant, now, store)
            self._sets.absorb_records(records, None, now, store, outputs)
        return self._removing.revoke(plan, event, manifest, self._sets.view, now, store)

    def keep_up(
        self, upkeep: Upkeep, seen: Seen, now: Moment, store: GroupSet, outputs: list[Output]
    ) -> None:
        """Renew and close what is due. What a rule refuses is left to somebody else, or to a person.

        Guards: a node whose clock is years ahead, to which everybody's credential has ended long ago. Nobody
        is closed by a clock that no neighbor agrees with.
        """
        grant = self._sets.usable_grant(now)
        renewals, closings = upkeep.due(self._sets.view, grant, seen, now)
        for request in renewals:
            with suppress(RuleError):
                self._issue(Issue((request,)), now, store, outputs)
        for closing in closings if self._sets.data.time.confirmed else ():
            with suppress(RuleError):
                act = self._revoke(Revoke(closing.pid, until=closing.until), now, store, outputs)
                self._publish(act, now, store, outputs)

    def _on_write(
        self,
        command: AddRecord | UpdateRecord | DeleteRecord,
        now: Moment,
        store: GroupSet,
        outputs: list[Output],
    ) -> None:
        grant = self._sets.members.own_grant(now.utc_s)
        records, written = self._sets.data.write(command, grant, now, store)
        self._sets.replicas.watch(written.version_id)
        self._sets.absorb_records(records, None, now, store, outputs, ask=True)
        outputs.append(Result(written))

    def _issue(self, event: Issue, now: Moment, store: GroupSet, outputs: list[Output]) -> tuple[Issued, ...]:
        view = self._sets.view
        signed = self._issuing.issue(event, view, now, store)
        elements: list[Element] = []
        for one, request in zip(signed, event.requests, strict=True):
            elements += [one.act] if one.removal is None else [one.removal, one.act]
            elements += [one.der] if request.store else []
        intake = self._sets.members.take(elements, None, now, store)
        assert intake.refused is None, intake
        assert len(intake.fresh) >= len(elements), intake
        issued = []
        for one, request in zip(signed, event.requests, strict=True):
            admitted = view.admitted(one.act.id)
            assert admitted is not None
            assert admitted.grant is not None
            der = one.der.certificate.der
            bundle = make_bundle(view, admitted.grant, store.get, der) if request.invitation else b""
            assert bundle is not None
            issued.append(Issued(one.act.id, bundle))
        self._sets.absorb(intake, None, now, store, outputs)
        return tuple(issued)

    def _on_import(self, event: Import, now: Moment, store: GroupSet, outputs: list[Output]) -> None:
        """Take in what a file holds; its mistakes are counted, and nobody is to blame."""
        intake = self._sets.members.take(event.elements, None, now, store)
        self._sets.absorb(intake, None, now, store, outputs)
        records = self._sets.data.take(event.records, now, store)
        self._sets.absorb_records(records, None, now, store, outputs)
        refused = records.refusals + (intake.refused is not None)
        outputs.append(Result(Imported(len(intake.fresh), len(records.fresh), refused)))
