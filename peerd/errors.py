"""What can go wrong around the protocol: disk, network, configuration, and names that fit nothing.

Every error carries three things: `code`, the stable slug that programs match; `detail`, what happened and
why; `hint`, the next command to type. `KINDS` says for each slug of this room what it is called and which
HTTP status it has; `RULE_STATUS` gives the status of the protocol's own refusals, whose titles stand in
`protocol.errors.RULES`. Nothing of the protocol is imported here: the client reads these tables too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Kind:
    """What is the same for every error under one slug."""

    title: str
    status: int


KINDS: dict[str, Kind] = {
    # NotFound
    "not-found": Kind("There is no such thing", 404),
    "group-not-found": Kind("No such group is known here", 404),
    "credential-not-found": Kind("No such credential is known", 404),
    "member-not-found": Kind("No such member is known", 404),
    # Conflict
    "conflict": Kind("It does not fit what is there", 409),
    "ambiguous-name": Kind("The name fits more than one", 409),
    "file-exists": Kind("The file exists already", 409),
    "home-in-use": Kind("Another daemon uses this home", 409),
    "identity-in-use": Kind("A group still needs the identity", 409),
    # NotReady
    "not-ready": Kind("It is not ready yet", 503),
    "group-closed": Kind("The group is not open here", 503),
    "data-not-here": Kind("The record's data have not arrived here yet", 503),
    "not-replicated": Kind("It is durable here, but not yet on as many neighbors", 504),
    # Denied
    "access-denied": Kind("Not allowed", 403),
    # StoreError
    "store-failed": Kind("The disk failed", 500),
    "store-full": Kind("The disk is full", 507),
    "store-corrupt": Kind("The data on disk is damaged", 500),
    "store-too-new": Kind("The data was written by a newer peerd", 500),
    "store-in-use": Kind("The data is in use by another process", 409),
    # LinkClosed, LinkLost
    "link-closed": Kind("The link was closed", 503),
    "link-lost": Kind("The link broke", 502),
    # ConfigError
    "config-invalid": Kind("The configuration is not acceptable", 400),
    "home-not-private": Kind("The home is open to others", 500),
    "network-file-system": Kind("The home is on a network file system", 500),
    "path-too-long": Kind("The path is too long for a socket", 400),
    # BadRequest, and what else only the control API and the command line say
    "invalid-request": Kind("The request is not acceptable", 400),
    "method-not-allowed": Kind("The method is not offered here", 405),
    "not-acceptable": Kind("No format that was asked for is offered", 406),
    "timed-out": Kind("It took too long", 408),
    "request-too-large": Kind("The request is too large", 413),
    "unsupported-media-type": Kind("The content type is not understood", 415),
    "too-many-connections": Kind("Too many connections are open", 429),
    "headers-too-large": Kind("The request's headers are too large", 431),
    "usage": Kind("The command line is not acceptable", 400),
    "output-failed": Kind("The answer could not be written", 500),
    "internal": Kind("peerd made a mistake", 500),
    "daemon-not-running": Kind("No daemon answers", 503),
}

RULE_STATUS: dict[str, int] = {
    "act-rate-exceeded": 429,
    "already-exists": 409,
    "chain-too-long": 422,
    "circular-chain": 422,
    "classifier-too-long": 422,
    "clock-not-trusted": 503,
    "draft-not-acceptable": 422,
    "group-not-ready": 503,
    "identity-deleted": 410,
    "identity-not-found": 404,
    "invalid-argument": 422,
    "invalid-attributes": 422,
    "invalid-classifier": 422,
    "invalid-credential": 422,
    "invalid-credential-info": 422,
    "invalid-database": 422,
    "invalid-friendly-name": 422,
    "invalid-peer-name": 422,
    "invalid-properties": 422,
    "invalid-record": 422,
    "invalid-record-expiration": 422,
    "invalid-role": 422,
    "invalid-search": 422,
    "invalid-time-period": 422,
    "invitation-not-trusted": 422,
    "key-mismatch": 422,
    "needs-revocation": 422,
    "no-effect": 409,
    "no-key-access": 403,
    "not-authorized": 403,
    "passphrase-needed": 403,
    "quota-exceeded": 422,
    "record-deleted": 410,
    "record-not-found": 404,
    "record-too-large": 413,
    "root-changed": 409,
    "signature-missing": 422,
    "unsupported-version": 422,
    "version-conflict": 409,
    "wrong-group": 422,
    "wrong-passphrase": 403,
}


def status_of(code: str) -> int:
    """The HTTP status of a slug of either table."""
    kind = KINDS.get(code)
    return RULE_STATUS[code] if kind is None else kind.status


class PeerdError(Exception):
    """The root of the tree; never raised itself."""

    CODE: ClassVar[str] = ""

    def __init__(self, detail: str, *, code: str = "", hint: str = "") -> None:
        """`code` is a key of `KINDS`, by default that of the class; the others are sentences for people."""
        if type(self) is PeerdError:
            raise TypeError("raise one of PeerdError's children")
        super().__init__(detail)
        self.code = code or self.CODE
        self.detail = detail
        self.hint = hint
        assert self.code in KINDS, self.code


class NotFound(PeerdError):
    """What was named is not here."""

    CODE = "not-found"


class Conflict(PeerdError):
    """What was asked for does not fit what is there."""

    CODE = "conflict"


class NotReady(PeerdError):
    """It will work, only not yet."""

    CODE = "not-ready"


class Denied(PeerdError):
    """The caller of the control API may not do this."""

    CODE = "access-denied"


class BadRequest(PeerdError):
    """What a caller of the control API sent is no request that could be considered."""

    CODE = "invalid-request"


class StoreError(PeerdError):
    """The disk failed: what was not acknowledged may be lost; nothing more is taken before a new opening."""

    CODE = "store-failed"


class StoreFull(StoreError):
    """No space is left; the write was taken back and reading goes on."""

    CODE = "store-full"


class StoreCorrupt(StoreError):
    """What is on disk is not what was written."""

    CODE = "store-corrupt"


class StoreTooNew(StoreError):
    """A newer peerd wrote the files; they were left as they are."""

    CODE = "store-too-new"


class StoreInUse(StoreError):
    """Another process holds the files."""

    CODE = "store-in-use"


class LinkClosed(PeerdError):
    """We closed the link."""

    CODE = "link-closed"


class LinkLost(PeerdError):
    """The neighbor or the network ended the link."""

    CODE = "link-lost"


class ConfigError(PeerdError):
    """The configuration, a path or a file mode is not acceptable; nothing was started."""

    CODE = "config-invalid"
