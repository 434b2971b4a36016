"""What is said on the control API about a group's root: its keys, who replaces it, and what it signs offline.

The rules of `schema` hold here too. Secrets travel in bodies alone, and no answer but that of a recovery key
drawn holds one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from peerd.control.limits import (
    RECOVERY_TEXT_CHARACTERS_MAX,
    ROOT_FILE_CHARACTERS_MAX,
    ROOT_KEYS_MAX,
    WITHOUT_ACTS_MAX,
)
from peerd.control.schema import (
    Credential,
    CredentialIssue,
    Passphrase,
    PropertiesChange,
    Reply,
    Request,
    Time,
)

RecoveryText = Annotated[str, Meta(max_length=RECOVERY_TEXT_CHARACTERS_MAX)]
RootFileText = Annotated[str, Meta(max_length=ROOT_FILE_CHARACTERS_MAX)]
KeyCount = Annotated[int, Meta(ge=1, le=ROOT_KEYS_MAX)]
RootFiles = Annotated[list[RootFileText], Meta(max_length=ROOT_KEYS_MAX)]
ActNames = Annotated[list[str], Meta(max_length=WITHOUT_ACTS_MAX)]


class RecoveryDraw(Request, frozen=True, kw_only=True):
    """How many recovery keys are drawn, and how many of them it takes; a new group has one."""

    keys: KeyCount = 1
    threshold: KeyCount = 1


class RootKey(Reply, frozen=True, kw_only=True):
    """A root key, by the SHA-256 of its public half.

    `operating`: it signs for the root as it is now. `held`: it is in this home, `sealed` under a passphrase,
    and `locked` when it cannot be used without that.
    """

    key_id: str
    operating: bool
    held: bool
    sealed: bool
    locked: bool


class RootVersion(Reply, frozen=True, kw_only=True):
    """One version of the root: the act that made it, the keys that sign for it, how many it takes.

    `cosigned`: the version before agreed to it.
    """

    version: int
    act_id: str
    time: Time
    operating: list[str]
    threshold: int
    cosigned: bool


class Root(Reply, frozen=True, kw_only=True):
    """A group's root as this daemon sees it.

    `keys` are the operating ones, and others that are in this home. `history` has all versions, the first
    first; `rivals` are acts that would have replaced the root too, and do not count: somebody else has used
    recovery keys.
    """

    group: str
    gid: str
    version: int
    act_id: str
    threshold: int
    keys: list[RootKey]
    history: list[RootVersion]
    rivals: list[str]


class RootKeys(Reply, frozen=True, kw_only=True):
    """The root keys of a group that are in this home."""

    gid: str
    keys: list[RootKey]


class RootRotation(Request, frozen=True, kw_only=True):
    """Replace the root.

    `recovery_keys` are those that the root of now was made with, as they were handed out, with the notes
    beside them; `recovery_token` stands for the next ones (see `RecoveryKey`), and `recovery_delivered` says
    that they have been put where they will be found again. `keys` are files made by `sign`, of keys on other
    machines; without any, or with `key_here`, a key is made here, under `new_passphrase` if given.
    `threshold` of the new keys sign for the new root.

    What the present root has signed goes on counting, but for what is dated after `keep_until`, and for the
    acts `without` (ids or beginnings) with all that follows them in their chains. `over_rival`: the keys are
    those of an earlier root, and are to outdo whoever has replaced that. `dry_run` only tells what would stop
    counting.
    """

    recovery_keys: Annotated[list[RecoveryText], Meta(min_length=1, max_length=ROOT_KEYS_MAX)]
    recovery_token: str | None = None
    recovery_delivered: bool = False
    keys: RootFiles = field(default_factory=list)
    key_here: bool = False
    threshold: KeyCount = 1
    new_passphrase: Passphrase | None = None
    without: ActNames = field(default_factory=list)
    keep_until: Time | None = None
    over_rival: bool = False
    trust_clock: bool = False
    dry_run: bool = False


class RootRotated(Reply, frozen=True, kw_only=True):
    """The new root, or in a dry run what it would be: then `act_id` is `null`.

    `credentials` are those that count no more, `members_lost` who is no member without them. `cosigned`: the
    keys of the old root that are in this home have agreed to it, so that it wins over a rival without that.
    `unprotected`: the key made here is under no passphrase, although another of the group is.
    """

    group: str
    version: int
    act_id: str | None
    threshold: int
    cosigned: bool
    credentials: list[Credential]
    members_lost: list[str]
    unprotected: bool = False


class RootRevocation(Request, frozen=True, kw_only=True):
    """A removal by the root; the fields are those of `Revocation`."""

    member: str
    for_ever: bool = False
    reason: str = ""
    data: Literal["drop", "time"] = "time"


class RootReplacement(Request, frozen=True, kw_only=True):
    """Another root, to be signed where the recovery keys are.

    `recovery_set` is what stands beside a recovery key (`RecoveryKey.recovery_set`) and names the public
    halves of the present ones; the other fields are those of `RootRotation`.
    """

    recovery_set: RecoveryText
    recovery_token: str
    recovery_delivered: Literal[True]
    keys: Annotated[RootFiles, Meta(min_length=1)]
    threshold: KeyCount = 1
    without: ActNames = field(default_factory=list)
    keep_until: Time | None = None
    over_rival: bool = False


class RootPreparation(Request, frozen=True, kw_only=True):
    """Something that the root is to sign, elsewhere: exactly one of the wishes.

    `key` asks for a new root key, made where the file is signed. `signers` are the keys that will sign, by
    their ids or beginnings of these; the first that suffice when none is named. A `grant` is stored, whatever
    it says.
    """

    grant: CredentialIssue | None = None
    revoke: RootRevocation | None = None
    annul: str | None = None
    properties: PropertiesChange | None = None
    rotate: RootReplacement | None = None
    key: bool = False
    signers: Annotated[list[str], Meta(max_length=2 * ROOT_KEYS_MAX)] = field(default_factory=list)
    trust_clock: bool = False


class RootFile(Reply, frozen=True, kw_only=True):
    """A file that is carried to a root key and back, and what is in it.

    `what`: `key-wanted` (a key is to be made where it is signed), `root-key` (the key that was made: for
    `keys` of a rotation), or `root-act`. `contents` tells what is signed, from the signed bytes themselves.
    `missing` are the keys that have not signed yet; `signed_now` those that did by this call.
    """

    file: str
    what: Literal["key-wanted", "root-key", "root-act"]
    group: str
    contents: dict[str, Any]
    missing: list[str]
    signed_now: list[str]


class RootSigning(Request, frozen=True, kw_only=True):
    """Sign a file with the root keys that are in this home, and with `recovery_keys`.

    `passphrase` opens keys that are locked, for this call. A key that is made is put under `new_passphrase`,
    if there is one. `dry_run` only tells what is in the file.
    """

    file: RootFileText
    recovery_keys: Annotated[list[RecoveryText], Meta(max_length=ROOT_KEYS_MAX)] = field(default_factory=list)
    passphrase: Passphrase | None = None
    new_passphrase: Passphrase | None = None
    dry_run: bool = False


class RootImport(Request, frozen=True, kw_only=True):
    """A file that all its keys have signed."""

    file: RootFileText


class RootImported(Reply, frozen=True, kw_only=True):
    """The root's acts that are in the group now.

    `fresh`: they were not there before. `credentials` are those that they give, and those whose standing they
    changed; `version` is the root's number if one of them replaced the root.
    """

    group: str
    act_ids: list[str]
    fresh: bool
    credentials: list[Credential]
    version: int | None


class RootProtection(Request, frozen=True, kw_only=True):
    """Put the root keys in this home under `new_passphrase`, or under none; `passphrase` is that of now."""

    passphrase: Passphrase | None = None
    new_passphrase: Passphrase | None = None


class RootUnlocking(Request, frozen=True, kw_only=True):
    """Open the root keys in this home, until they are locked or the daemon stops."""

    passphrase: Passphrase
