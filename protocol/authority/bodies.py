"""What each kind of act says: one checked struct per kind, and the table that ties a kind's code to the least
role that may sign it.

The formats are final. Rules for changing them: a field is never removed, renamed or given another meaning; a
new field is optional and old readers carry it unread; a new kind takes a free code in the range of the least
role that may sign it, and old nodes admit, carry and digest it without acting on it (design section 5). Byte
strings that list ids are concatenations of 32-byte ids.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol.codec import prepared
from protocol.limits import (
    ADOPTS_IDS_MAX,
    CERTIFICATE_BYTES_MAX,
    CLASSIFIER_CHARACTERS_MAX,
    COMMENT_CHARACTERS_MAX,
    DESPITE_IDS_MAX,
    END_OF_TIME_S,
    FRIENDLY_NAME_CHARACTERS_MAX,
    KEEP_IDS_MAX,
    LEVEL_ADMIN_MAX,
    LEVEL_INVITING_MEMBER,
    LEVEL_MEMBER,
    LEVEL_ROOT,
    PROPERTIES_EXTRA_MAX,
    ROOT_KEYS_MAX,
)
from protocol.peer_time import HLC_MAX

_ID = 32
Id = Annotated[bytes, Meta(min_length=_ID, max_length=_ID)]
Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Keys = Annotated[bytes, Meta(max_length=32 * ROOT_KEYS_MAX)]
Keep = Annotated[bytes, Meta(max_length=_ID * KEEP_IDS_MAX)]
Despite = Annotated[bytes, Meta(max_length=_ID * DESPITE_IDS_MAX)]
Adopts = Annotated[bytes, Meta(max_length=_ID * ADOPTS_IDS_MAX)]
Level = Annotated[int, Meta(ge=0, le=255)]
Seconds = Annotated[int, Meta(ge=0, le=END_OF_TIME_S)]
Hlc = Annotated[int, Meta(ge=0, le=HLC_MAX)]
Threshold = Annotated[int, Meta(ge=1, le=ROOT_KEYS_MAX)]
FriendlyName = Annotated[str, Meta(max_length=FRIENDLY_NAME_CHARACTERS_MAX)]
PeerNameText = Annotated[str, Meta(min_length=41, max_length=41 + CLASSIFIER_CHARACTERS_MAX)]
Roles = Annotated[list[Annotated[int, Meta(ge=1, le=255)]], Meta(min_length=1, max_length=8)]
DataRule = Annotated[str, Meta(max_length=16)]
Reason = Annotated[str, Meta(max_length=COMMENT_CHARACTERS_MAX)]


class Kind(IntEnum):
    """The codes of the known kinds; their ranges are read by `least_level`."""

    ROTATE_ROOT = 1
    PROPERTIES = 2
    ANNUL = 64
    GRANT = 128
    INVITE = 129
    REVOKE_CREDENTIAL = 130
    REVOKE_KEY = 131
    RESIGN = 192


# First code of each range and the largest level that may sign its kinds.
_RANGES = ((192, LEVEL_MEMBER), (128, LEVEL_INVITING_MEMBER), (64, LEVEL_ADMIN_MAX), (1, LEVEL_ROOT))


def level_max_for(kind: int) -> int:
    """The largest (most junior) level that may sign a kind, known or not. Kind 0 is nobody's: -1."""
    return next((level for first, level in _RANGES if kind >= first), -1)


class Body(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The root of the body types."""


class GrantBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """Makes a key a member: `key` gets `level` and `roles` for the window `start` … `end` (seconds UTC, both
    included).

    `wanted` is the life in seconds that was asked for (0: as long as possible), from which a renewal starts;
    `der` is the SHA-256 of the GMC; `store` tells whether act and GMC were published together. `renews` names
    the grant that this one continues; `adopts` with `keep`, `despite` and `via` are read by later evaluation
    rules.
    """

    key: Key
    name: PeerNameText
    friendly: FriendlyName = ""
    level: Annotated[int, Meta(ge=1, le=255)]
    roles: Roles
    start: Seconds
    end: Seconds
    wanted: Seconds = 0
    der: Id
    store: bool = False
    renews: Id | None = None
    despite: Despite = b""
    adopts: Adopts = b""
    keep: Keep = b""
    via: Id | None = None


class InviteBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """Lets whoever proves a secret become a member until `not_after`: a public key (code) or a sealed
    password.
    """

    key: Key | None = None
    sealed: Annotated[bytes, Meta(max_length=4096)] = b""
    role: Annotated[int, Meta(ge=1, le=255)]
    not_after: Seconds
    grant_not_after: Seconds = 0
    uses: Annotated[int, Meta(ge=1, le=65_535)] = 1


class RevokeBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """Shared by REVOKE_CREDENTIAL and REVOKE_KEY: `key` loses what it was granted, but for its acts in the
    ancestry of `keep`.
    """

    key: Key
    keep: Keep = b""
    until: Seconds | None = None
    reason: Reason = ""
    data: DataRule = ""
    manifest: Id | None = None


class RevokeCredentialBody(RevokeBody, frozen=True, omit_defaults=True, kw_only=True):
    """Removes a member; a later grant may bring the key back."""


class RevokeKeyBody(RevokeBody, frozen=True, omit_defaults=True, kw_only=True):
    """Removes a key for ever."""


class ResignBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """The author gives up its own membership."""

    keep: Keep = b""
    reason: Reason = ""


class AnnulBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """Takes back one act of a larger level."""

    act: Id


class PropertiesBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """The group's properties; the whole set each time, of which the largest (hlc, id) counts."""

    friendly: FriendlyName = ""
    comment: Annotated[str, Meta(max_length=COMMENT_CHARACTERS_MAX)] = ""
    default_life: Seconds = 0
    presence: bool = True
    join: dict[str, Any] = {}
    renewal: dict[str, Any] = {}
    quotas: dict[str, Any] = {}
    extra: Annotated[dict[str, Any], Meta(max_length=PROPERTIES_EXTRA_MAX)] = {}


class RotateRootBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """Installs a root version; `from_version` 0 is genesis, whose fields `grc`, `classifier`, `nonce` and
    `created` no later one has.

    `operating` lists the raw keys that sign level-0 acts (ascending), `threshold` how many of them it takes,
    `next` commits to the recovery set that may sign the next rotation. A rotation reveals the set that the
    version before committed to.
    """

    from_version: Annotated[int, Meta(ge=0, le=65_535)]
    operating: Keys
    threshold: Threshold
    next: Id
    grc: Key | None = None
    classifier: Annotated[str, Meta(max_length=CLASSIFIER_CHARACTERS_MAX)] = ""
    nonce: Id | None = None
    created: Hlc = 0
    certificates: Annotated[
        list[Annotated[bytes, Meta(max_length=CERTIFICATE_BYTES_MAX)]], Meta(max_length=ROOT_KEYS_MAX)
    ] = []
    revealed: Keys = b""
    revealed_threshold: Annotated[int, Meta(ge=0, le=ROOT_KEYS_MAX)] = 0
    keep: Keep = b""
    kept: Id | None = None


class UnknownBody(Body, frozen=True, omit_defaults=True, kw_only=True):
    """A kind that this version does not know; its fields stay in the bytes."""


BODIES: dict[int, type[Body]] = {
    Kind.ROTATE_ROOT: RotateRootBody,
    Kind.PROPERTIES: PropertiesBody,
    Kind.ANNUL: AnnulBody,
    Kind.GRANT: GrantBody,
    Kind.INVITE: InviteBody,
    Kind.REVOKE_CREDENTIAL: RevokeCredentialBody,
    Kind.REVOKE_KEY: RevokeKeyBody,
    Kind.RESIGN: ResignBody,
}
prepared(UnknownBody)
for _body in BODIES.values():
    prepared(_body)

# Fields that hold lists of 32-byte ids or keys: their length must be a multiple of 32, which msgspec cannot
# say.
LISTS_OF_32 = ("keep", "despite", "adopts", "operating", "revealed")
