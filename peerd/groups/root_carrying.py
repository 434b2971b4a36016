"""What the root is to sign, prepared here, signed where its keys are, and brought back.

Preparing asks the group and needs no key; signing needs a key and nothing of the group, so that a machine can
hold a root key that has never seen the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from peerd.control import root_schema
from peerd.control.schema import end_at, seconds_at
from peerd.errors import Conflict
from peerd.groups.base64url import write_base64url
from peerd.groups.credential_cases import requested
from peerd.groups.group_cases import changes_in
from peerd.groups.open_group import OpenGroup
from peerd.groups.people import person_pid
from peerd.groups.recoveries import Recoveries, read_recovery, read_set
from peerd.groups.registry import Registry
from peerd.groups.removal_cases import act_meant
from peerd.groups.root_cases import document_in, file_bytes, replaced_root, root_of, shown_grants
from peerd.root_keys import no_root_key, passphrase_needed
from protocol.authority.root_acts import (
    AnnulWish,
    GrantWish,
    PropertiesWish,
    RevokeWish,
    RootWish,
    RotateWish,
    prepare,
)
from protocol.authority.root_certificates import GroupFacts
from protocol.authority.root_documents import (
    KEY_WANTED,
    ROOT_KEY,
    KeyWanted,
    decode_untrusted_key_wanted,
    decode_untrusted_root_document,
    encode_key_wanted,
    encode_root_document,
    make_root_document,
    what_is_in,
)
from protocol.authority.root_drafts import (
    ROOT_ACT,
    RootDraft,
    decode_untrusted_draft,
    encode_draft,
    sign_draft,
)
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import check_comment
from protocol.errors import RuleError
from protocol.machines.events import ImportRootActs, RootActsImported

_CHAIN_BYTES = 16
_TIMES = frozenset(
    {"prepared", "not_before", "not_after", "until"}
)  # in seconds UTC where a draft tells them
What = Literal["key-wanted", "root-key", "root-act"]


class RootCarrying:
    """Files for root keys that are elsewhere."""

    def __init__(self, registry: Registry, recoveries: Recoveries) -> None:
        """Finds groups and keys in the registry."""
        self._registry = registry
        self._recoveries = recoveries

    # --- preparing ------------------------------------------------------------------------------------------

    async def prepare_root_act(self, group: str, wish: root_schema.RootPreparation) -> root_schema.RootFile:
        """Prepare something that the root is to sign elsewhere."""
        opened = self._registry.ready(group)
        given = (wish.grant, wish.revoke, wish.annul, wish.properties, wish.rotate, wish.key or None)
        if sum(one is not None for one in given) != 1:
            raise RuleError(
                "invalid-argument", "exactly one thing can be prepared", hint="peerd root prepare --help"
            )
        root = await opened.node.runner.ask(lambda _: root_of(opened))
        if wish.key:
            return _key_wanted(KeyWanted(GroupFacts.of(root)))
        asked = await self._wish(opened, wish)
        environment, view = self._registry.environment, opened.machine.members.view
        chain, now = environment.draw(_CHAIN_BYTES), environment.clock.moment()
        known = [*root.operating]
        if isinstance(asked, RotateWish):
            former = await opened.node.runner.ask(
                lambda _: replaced_root(opened, asked.revealed, over_rival=True)
            )
            known = [*former.operating, *(key.pid for key in asked.revealed.keys)]
        signers = [_key_meant(known, text) for text in wish.signers]
        draft = await opened.node.runner.ask(
            lambda _: prepare(view, asked, signers, chain, now, trust_clock=wish.trust_clock)
        )
        if wish.rotate is not None:
            self._recoveries.used(wish.rotate.recovery_token)
        return _drafted(draft, ())

    async def _wish(self, opened: OpenGroup, wish: root_schema.RootPreparation) -> RootWish:
        """What is wanted, in the rules' own terms. Raises: RuleError, NotFound, Conflict."""
        view, ask = opened.machine.members.view, opened.node.runner.ask
        if wish.grant is not None:
            (request,) = await requested(opened, [wish.grant], self._registry.environment.offload)
            return GrantWish(request)
        if (revoke := wish.revoke) is not None:
            check_comment(revoke.reason)
            pid = await ask(lambda _: person_pid(view, revoke.member))
            return RevokeWish(pid, revoke.for_ever, revoke.reason, revoke.data)
        if (annul := wish.annul) is not None:
            return AnnulWish(await ask(lambda _: act_meant(view, annul)))
        if wish.properties is not None:
            before = await ask(lambda _: view.properties.renewal)
            return PropertiesWish(changes_in(wish.properties, before))
        assert wish.rotate is not None
        return await self._replacement(opened, wish.rotate)

    async def _replacement(self, opened: OpenGroup, wish: root_schema.RootReplacement) -> RotateWish:
        view, revealed = opened.machine.members.view, read_set(wish.recovery_set)
        root = await opened.node.runner.ask(
            lambda _: replaced_root(opened, revealed, over_rival=wish.over_rival)
        )
        without = await opened.node.runner.ask(lambda _: [act_meant(view, text) for text in wish.without])
        return RotateWish(
            documents=tuple(document_in(text, root) for text in wish.keys),
            revealed=revealed,
            recovery=self._recoveries.find(wish.recovery_token, self._registry.environment.clock.moment()),
            threshold=wish.threshold,
            without=tuple(without),
            keep_until=None if wish.keep_until is None else seconds_at(wish.keep_until),
        )

    # --- signing --------------------------------------------------------------------------------------------

    async def sign_root_file(self, wish: root_schema.RootSigning) -> root_schema.RootFile:
        """Sign what was prepared with the keys in this home; a key that is wanted is made here."""
        raw = file_bytes(wish.file)
        what = what_is_in(raw)
        if what == KEY_WANTED:
            return await self._make_key(decode_untrusted_key_wanted(raw), wish)
        if what == ROOT_KEY:
            document = decode_untrusted_root_document(raw)
            if wish.dry_run:
                return _file(raw, ROOT_KEY, document.group, {"key_id": document.key.pid.hex()})
            raise RuleError(
                "invalid-argument",
                "this file holds a key that has been made, and nothing to sign",
                hint="carry it on, to replace the root: peerd root rotate GROUP --with FILE --key FILE",
            )
        draft = await self._registry.environment.offload(partial(decode_untrusted_draft, raw))
        if wish.dry_run:
            return _drafted(draft, ())
        return await self._sign(draft, wish)

    async def _make_key(self, wanted: KeyWanted, wish: root_schema.RootSigning) -> root_schema.RootFile:
        if wish.dry_run:
            return _key_wanted(wanted)
        key = PrivateKey.from_seed(self._registry.environment.draw(32))
        save = partial(self._registry.root_keys.save, wanted.group.gid, key, wish.new_passphrase)
        await self._registry.environment.offload(save)
        made = make_root_document(wanted, key)
        key_id = key.public.pid.hex()
        return _file(encode_root_document(made), ROOT_KEY, made.group, {"key_id": key_id}, signed=(key_id,))

    async def _sign(self, draft: RootDraft, wish: root_schema.RootSigning) -> root_schema.RootFile:
        """Add every signature that can be made here. Raises: RuleError: none can, or one is out of turn."""
        gid, missing, root_keys = draft.group.gid, draft.missing, self._registry.root_keys
        if not missing:
            raise RuleError(
                "invalid-argument",
                "all its keys have signed this file",
                hint="carry it back to a member: peerd root import GROUP FILE",
            )
        load = partial(root_keys.load_all, gid, missing, wish.passphrase)
        here = await self._registry.environment.offload(load)
        carried = [key for key in read_recovery(wish.recovery_keys)[0] if key.public.pid in missing]
        keys = {key.public.pid: key for key in (*here, *carried)}
        if not keys:
            raise self._why_no_key(gid, missing)
        for pid in sorted(keys):
            draft = sign_draft(draft, keys[pid])
        return _drafted(draft, tuple(pid.hex() for pid in sorted(keys)))

    def _why_no_key(self, gid: bytes, missing: Sequence[bytes]) -> RuleError:
        if any(one.locked and one.public.pid in missing for one in self._registry.root_keys.held(gid)):
            return passphrase_needed()
        error = no_root_key()
        wanted = ", ".join(pid.hex()[:16] for pid in missing)
        return RuleError(
            error.code,
            f"none of the keys that are to sign this is in this home; wanted are {wanted}",
            hint="sign it where one is; with a recovery key: peerd root sign FILE --with FILE",
        )

    # --- bringing back --------------------------------------------------------------------------------------

    async def import_root_act(self, group: str, wish: root_schema.RootImport) -> root_schema.RootImported:
        """Publish what all its keys have signed; repeating it changes nothing."""
        opened = self._registry.ready(group)
        raw = file_bytes(wish.file)
        draft = await self._registry.environment.offload(partial(decode_untrusted_draft, raw))
        if draft.group.gid != opened.machine.members.view.gid:
            raise RuleError(
                "wrong-group", f"this file is for {draft.group.name}", hint="peerd root import GROUP FILE"
            )
        done = cast("RootActsImported", await opened.node.runner.submit(ImportRootActs(draft.elements())))
        self._registry.root_renewal.look()
        now = self._registry.environment.clock.moment()
        return await opened.node.runner.ask(
            lambda _: root_schema.RootImported(
                group=opened.entry.group_name,
                act_ids=[act_id.hex() for act_id in done.act_ids],
                fresh=done.fresh,
                credentials=shown_grants(opened, list(dict.fromkeys((*done.act_ids, *done.changed))), now),
                version=done.rotated,
            )
        )


def _key_meant(known: Sequence[bytes], text: str) -> bytes:
    """The key that a person means by its id or a beginning of it. Raises: RuleError, Conflict."""
    fitting = [pid for pid in known if text and pid.hex().startswith(text.lower())]
    if len(fitting) > 1:
        raise Conflict(
            f"“{text}” fits {len(fitting)} keys", code="ambiguous-name", hint="give more of the id"
        )
    if not fitting:
        raise RuleError(
            "invalid-argument",
            f"no key “{text}” can sign this",
            hint="peerd root show GROUP lists the operating keys",
        )
    return fitting[0]


def _key_wanted(wanted: KeyWanted) -> root_schema.RootFile:
    return _file(encode_key_wanted(wanted), KEY_WANTED, wanted.group, {"wanted": "a new root key"})


def _drafted(draft: RootDraft, signed: tuple[str, ...]) -> root_schema.RootFile:
    missing = tuple(pid.hex() for pid in draft.missing)
    return _file(encode_draft(draft), ROOT_ACT, draft.group, _told(draft.describe()), missing, signed)


def _told(contents: Mapping[str, Any]) -> dict[str, Any]:
    """What a draft says of itself, with times as the API has them."""
    return {name: _said(name, value) for name, value in contents.items()}


def _said(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return _told(value)
    if name not in _TIMES or value is None:
        return value
    at = end_at(value)
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _file(
    raw: bytes,
    what: str,
    group: GroupFacts,
    contents: dict[str, object],
    missing: tuple[str, ...] = (),
    signed: tuple[str, ...] = (),
) -> root_schema.RootFile:
    return root_schema.RootFile(
        file=write_base64url(raw),
        what=cast("What", what),
        group=group.name,
        contents=contents,
        missing=list(missing),
        signed_now=list(signed),
    )
