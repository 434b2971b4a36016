"""What a user can do with a group's root: look at it, replace it, and lock its keys.

A rotation's own new key is durable before anything is signed; so are its recovery keys, which the caller has
put away. What is refused leaves neither behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import cast

from msgspec.structs import replace

from peerd.control import root_schema, schema
from peerd.control.schema import seconds_at, time_at_ms
from peerd.errors import NotFound
from peerd.groups.base64url import read_base64url
from peerd.groups.open_group import OpenGroup
from peerd.groups.recoveries import Recoveries, read_recovery
from peerd.groups.registry import Registry
from peerd.groups.removal_cases import act_meant, kept_acts
from peerd.groups.rendering import credential
from protocol.authority.act_set import ActSet
from protocol.authority.acts import decode_untrusted_act
from protocol.authority.root import Root
from protocol.authority.root_acts import RecoverySet, RotateWish, prepare
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import (
    KeyWanted,
    RootDocument,
    decode_untrusted_root_document,
    make_root_document,
    not_acceptable,
)
from protocol.authority.view import View
from protocol.authority.what_if import Fall, read_view, what_if
from protocol.credentials.keys import PrivateKey
from protocol.errors import RuleError
from protocol.machines.events import Rotated, RotateRoot
from protocol.peer_time import Moment, hlc_ms

_CHAIN_BYTES = 16
_NAME_CHARACTERS_MIN = 4  # of a group that is known by its keys alone


@dataclass(frozen=True, slots=True)
class _Rotation:
    """A rotation that could be signed now. `made` is the new key that lies here, if one does."""

    root: Root
    wish: RotateWish
    signers: tuple[PrivateKey, ...]
    made: PrivateKey | None

    @property
    def cosigned(self) -> bool:
        return self.root.agreed_by([key.public.pid for key in self.signers])


class RootCases:
    """The roots of the open groups, and the root keys in this home."""

    def __init__(self, registry: Registry, recoveries: Recoveries) -> None:
        """Finds groups and keys in the registry."""
        self._registry = registry
        self._recoveries = recoveries

    def _now(self) -> Moment:
        return self._registry.environment.clock.moment()

    # --- looking --------------------------------------------------------------------------------------------

    async def root(self, group: str) -> root_schema.Root:
        """A group's root."""
        opened = self._registry.ready(group)
        return await opened.node.runner.ask(partial(self._root_read, opened))

    def _root_read(self, opened: OpenGroup, store: ActSet) -> root_schema.Root:
        view, root = opened.machine.members.view, root_of(opened)
        return root_schema.Root(
            group=opened.entry.group_name,
            gid=root.gid.hex(),
            version=root.version,
            act_id=root.rotation.hex(),
            threshold=root.threshold,
            keys=self._keys(root.gid, root.operating),
            history=_history(view, store),
            rivals=[act_id.hex() for act_id in view.rival_rotations],
        )

    def _keys(self, gid: bytes, operating: Sequence[bytes]) -> list[root_schema.RootKey]:
        """The operating keys in their order, then others that are here."""
        here = {one.public.pid: one for one in self._registry.root_keys.held(gid)}
        pids = dict.fromkeys((*operating, *here))
        return [
            root_schema.RootKey(
                key_id=pid.hex(),
                operating=pid in operating,
                held=pid in here,
                sealed=pid in here and here[pid].sealed,
                locked=pid in here and here[pid].locked,
            )
            for pid in pids
        ]

    # --- replacing ------------------------------------------------------------------------------------------

    async def rotate_root(self, group: str, wish: root_schema.RootRotation) -> root_schema.RootRotated:
        """Replace the root, or tell what would stop counting."""
        opened = self._registry.ready(group)
        if not wish.dry_run and (wish.recovery_token is None or not wish.recovery_delivered):
            raise RuleError(
                "invalid-argument",
                "the new root has a recovery key, and nobody has said that it has been put away",
                hint="peerd root rotate --help",
            )
        rotation = await self._rotation(opened, wish)
        if wish.dry_run:
            return await self._rotation_tried(opened, rotation, trust_clock=wish.trust_clock)
        root_keys, gid = self._registry.root_keys, rotation.root.gid
        if rotation.made is not None:
            save = partial(root_keys.save, gid, rotation.made, wish.new_passphrase)
            await self._registry.environment.offload(save)
        try:
            command = RotateRoot(rotation.wish, rotation.signers, wish.trust_clock)
            done = cast("Rotated", await opened.node.runner.submit(command))
        except RuleError:
            if rotation.made is not None:
                root_keys.remove_one(gid, rotation.made.public)
            raise
        assert wish.recovery_token is not None
        self._recoveries.used(wish.recovery_token)
        self._registry.root_renewal.look()
        bare = rotation.made is not None and wish.new_passphrase is None
        unprotected = bare and any(one.sealed for one in root_keys.held(gid))
        rotated = await opened.node.runner.ask(lambda _: self._rotated(opened, rotation, done))
        return replace(rotated, unprotected=unprotected)

    async def _rotation(self, opened: OpenGroup, wish: root_schema.RootRotation) -> _Rotation:
        """Put together what a rotation takes. Raises: RuleError, Conflict."""
        keys, revealed = read_recovery(wish.recovery_keys)
        root = await opened.node.runner.ask(
            lambda _: replaced_root(opened, revealed, over_rival=wish.over_rival)
        )
        assert revealed is not None
        check_enough(keys, revealed, root)
        here = self._registry.root_keys.load_all(root.gid, root.operating)
        agreeing = here[: root.threshold] if len(here) >= root.threshold else []
        made, documents = None, [document_in(text, root) for text in wish.keys]
        if wish.key_here or not documents:
            made = PrivateKey.from_seed(self._registry.environment.draw(32))
            documents.append(make_root_document(KeyWanted(GroupFacts.of(root)), made))
        view = opened.machine.members.view
        without = await opened.node.runner.ask(lambda _: [act_meant(view, text) for text in wish.without])
        rotating = RotateWish(
            documents=tuple(documents),
            revealed=revealed,
            recovery=self._next_recovery(wish),
            threshold=wish.threshold,
            without=tuple(without),
            keep_until=None if wish.keep_until is None else seconds_at(wish.keep_until),
        )
        return _Rotation(root, rotating, (*keys[: revealed.threshold], *agreeing), made)

    def _next_recovery(self, wish: root_schema.RootRotation) -> RecoverySet:
        """The set behind the token; for a dry run without one, some set."""
        if wish.recovery_token is not None:
            return self._recoveries.find(wish.recovery_token, self._now())
        return RecoverySet.of([PrivateKey.from_seed(self._registry.environment.draw(32)).public], 1)

    async def _rotation_tried(
        self, opened: OpenGroup, rotation: _Rotation, *, trust_clock: bool
    ) -> root_schema.RootRotated:
        """What it would take down. Raises: RuleError, as the rotation itself would."""
        now, environment = self._now(), self._registry.environment
        view, chain = opened.machine.members.view, environment.draw(_CHAIN_BYTES)
        pids = [key.public.pid for key in rotation.signers]
        draft = await opened.node.runner.ask(
            lambda _: prepare(view, rotation.wish, pids, chain, now, trust_clock=trust_clock)
        )
        kept = await kept_acts(opened)
        fall = await environment.offload(lambda: what_if(read_view(view.gid, kept), draft.act, now.utc_s))
        return await opened.node.runner.ask(lambda _: self._rotation_told(opened, rotation, fall))

    def _rotation_told(self, opened: OpenGroup, rotation: _Rotation, fall: Fall) -> root_schema.RootRotated:
        view = opened.machine.members.view
        return root_schema.RootRotated(
            group=opened.entry.group_name,
            version=rotation.root.version + 1,
            act_id=None,
            threshold=rotation.wish.threshold,
            cosigned=rotation.cosigned,
            credentials=shown_grants(opened, [grant.act_id for grant in fall.grants], self._now()),
            members_lost=[view.name_of(pid) for pid in fall.lost],
        )

    def _rotated(self, opened: OpenGroup, rotation: _Rotation, done: Rotated) -> root_schema.RootRotated:
        view, now = opened.machine.members.view, self._now()
        found = (view.admitted(act_id) for act_id in done.fallen)
        pids = dict.fromkeys(one.grant.pid for one in found if one is not None and one.grant is not None)
        return root_schema.RootRotated(
            group=opened.entry.group_name,
            version=done.version,
            act_id=done.rotation.hex(),
            threshold=rotation.wish.threshold,
            cosigned=rotation.cosigned,
            credentials=shown_grants(opened, done.fallen, now),
            members_lost=[view.name_of(pid) for pid in pids if view.current(pid, now.utc_s) is None],
        )

    # --- the keys in this home ------------------------------------------------------------------------------

    async def protect_root(self, group: str, wish: root_schema.RootProtection) -> root_schema.RootKeys:
        """Put the root keys in this home under a passphrase, or under none."""
        gid, root_keys = self._gid(group), self._registry.root_keys
        await self._registry.environment.offload(
            partial(root_keys.protect, gid, wish.passphrase, wish.new_passphrase)
        )
        self._registry.root_renewal.look()
        return self._held(gid)

    async def unlock_root(self, group: str, wish: root_schema.RootUnlocking) -> root_schema.RootKeys:
        """Open the root keys in this home until they are locked."""
        gid, root_keys = self._gid(group), self._registry.root_keys
        await self._registry.environment.offload(partial(root_keys.unlock, gid, wish.passphrase))
        self._registry.root_renewal.look()
        return self._held(gid)

    async def lock_root(self, group: str) -> root_schema.RootKeys:
        """Forget the passphrase of the root keys in this home."""
        gid = self._gid(group)
        self._registry.root_keys.lock(gid)
        return self._held(gid)

    def _held(self, gid: bytes) -> root_schema.RootKeys:
        opened = next((one for one in self._registry.open_groups() if one.entry.gid == gid), None)
        root = None if opened is None else opened.machine.members.view.root
        keys = self._keys(gid, () if root is None else root.operating)
        return root_schema.RootKeys(gid=gid.hex(), keys=[key for key in keys if key.held])

    def _gid(self, text: str) -> bytes:
        """The group that a person means, also one of which only keys are here. Raises: NotFound, Conflict."""
        try:
            entry = self._registry.find(text)
        except NotFound:
            beginning = text.partition(".")[0].lower()
            fitting = [gid for gid in self._registry.root_keys.gids() if gid.hex().startswith(beginning)]
            if len(beginning) < _NAME_CHARACTERS_MIN or len(fitting) != 1:
                raise
            return fitting[0]
        if entry.gid is None:
            raise no_root_yet(entry.group_name)
        return entry.gid


def root_of(opened: OpenGroup) -> Root:
    """A group's root as it is. Raises: RuleError(group-not-ready)."""
    root = opened.machine.members.view.root
    if root is None:
        raise no_root_yet(opened.entry.group_name)
    return root


def no_root_yet(group_name: str) -> RuleError:
    """The refusal where genesis has not arrived."""
    return RuleError(
        "group-not-ready",
        "the group's acts have not arrived on this node yet",
        hint=f"peerd wait synchronized {quote(group_name)}",
    )


def replaced_root(opened: OpenGroup, revealed: RecoverySet | None, *, over_rival: bool) -> Root:
    """The root version that a recovery set replaces: the last that committed to it. It is the last of all,
    unless somebody else has replaced it, and is to be outdone. Raises: RuleError.
    """
    last = root_of(opened)
    if revealed is None:
        raise RuleError(
            "invalid-argument",
            "these recovery keys belong together, and the note of their set is missing",
            hint="give the whole files as they were made, with the line that begins with “# set:”",
        )
    roots = reversed(opened.machine.members.view.roots)
    found = next((root for root in roots if root.commitment == revealed.commitment), None)
    if found is None:
        raise not_the_recovery_keys(last)
    if found is not last and not over_rival:
        # Guards: of two rotations out of one version the smaller id may count, so a used key would do harm.
        raise RuleError(
            "root-changed",
            f"these are the recovery keys of root version {found.version}, which has been replaced already",
            hint="use those that the last rotation handed out; if it was somebody else's: --over-rival",
        )
    return found


def check_enough(keys: Sequence[PrivateKey], revealed: RecoverySet, root: Root) -> None:
    """As many keys of a set as it takes, and no others. Raises: RuleError."""
    known = frozenset(key.raw for key in revealed.keys)
    if any(key.public.raw not in known for key in keys):
        raise not_the_recovery_keys(root)
    if len(keys) < revealed.threshold:
        raise RuleError(
            "signature-missing",
            f"it takes {revealed.threshold} different recovery keys; here are {len(keys)}",
            hint="name each: peerd root rotate GROUP --with FILE --with FILE",
        )


def not_the_recovery_keys(root: Root) -> RuleError:
    """The refusal of recovery keys of another group, or of another version of the root."""
    return RuleError(
        "not-authorized",
        f"these are not the recovery keys of this group's root, which is of version {root.version}",
        hint="each rotation hands out new ones: use those of the last; when it was: peerd root show GROUP",
    )


def document_in(text: str, root: Root) -> RootDocument:
    """A key that was made elsewhere for this group. Raises: RuleError."""
    document = decode_untrusted_root_document(file_bytes(text))
    if document.group != GroupFacts.of(root):
        raise RuleError(
            "wrong-group",
            f"this key was made for {document.group.name}",
            hint="have one made for this group: peerd root prepare GROUP key --out FILE",
        )
    return document


def file_bytes(text: str) -> bytes:
    """The bytes of a file that is carried to a root key. Raises: RuleError(draft-not-acceptable)."""
    raw = read_base64url(text)
    if raw is None:
        raise not_acceptable("it is not base64url")
    return raw


def shown_grants(opened: OpenGroup, grant_ids: Sequence[bytes], now: Moment) -> list[schema.Credential]:
    """Those of these acts that are grants, as they are now."""
    view = opened.machine.members.view
    found = (view.admitted(act_id) for act_id in grant_ids)
    grants = [one.grant for one in found if one is not None and one.grant is not None]
    return [credential(view, opened.entry.group_name, grant, now.utc_s) for grant in grants]


def _history(view: View, store: ActSet) -> list[root_schema.RootVersion]:
    history, before = list[root_schema.RootVersion](), None
    for root in view.roots:
        raw = store.get(root.rotation)
        assert raw is not None
        act = decode_untrusted_act(raw)
        history.append(
            root_schema.RootVersion(
                version=root.version,
                act_id=root.rotation.hex(),
                time=time_at_ms(hlc_ms(act.place.hlc)),
                operating=[pid.hex() for pid in root.operating],
                threshold=root.threshold,
                cosigned=before is not None and before.agreed_by(act.signers),
            )
        )
        before = root
    return history
