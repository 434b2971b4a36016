"""What a route is, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from peerd.control import schema
from peerd.control.access import Access
from peerd.control.handlers import Call, Context
from peerd.control.http1 import JSON, Answer, Streaming

Outcome = schema.Reply | Answer | Streaming
Handler = Callable[[Context, Call], Outcome | Awaitable[Outcome]]

# What the caller did wrong whatever the route.
COMMON_ERRORS = (
    "invalid-request",
    "access-denied",
    "not-found",
    "method-not-allowed",
    "timed-out",
    "request-too-large",
    "unsupported-media-type",
    "too-many-connections",
    "headers-too-large",
    "internal",
)


class Octets(Enum):
    """How a body that is no JSON is taken."""

    WHOLE = "whole"
    IN_PARTS = "in parts"


@dataclass(frozen=True, slots=True)
class Route:
    """One route; its summary is its handler's docstring, its operation's id its handler's name.

    `body` and `query` are the types of what is sent, absent where nothing may be. `errors` are the slugs
    beside `COMMON_ERRORS`. `media_types` are those of an answer that is no `reply` in JSON. `example` is a
    body that a caller might send, for the document. `octets`: the body is no JSON but bytes.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    reply: type[schema.Reply] | None = None
    body: type[schema.Request] | None = None
    query: type[schema.Request] | None = None
    errors: tuple[str, ...] = ()
    status: int = HTTPStatus.OK
    media_types: tuple[str, ...] = (JSON,)
    example: schema.Request | None = None
    octets: Octets | None = None

    @property
    def name(self) -> str:
        """The stable name of the operation."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """One sentence on what it does."""
        return (self.handler.__doc__ or "").removesuffix(".")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path, from left to right."""
        return tuple(segment[1:-1] for segment in self.path.split("/") if is_name(segment))


GROUP_ERRORS = ("group-not-found", "ambiguous-name", "group-not-ready")
IDENTITY_ERRORS = ("identity-not-found", "ambiguous-name")
STORE_ERRORS = ("store-failed", "store-full", "store-corrupt")
SIGN_ERRORS = (
    *STORE_ERRORS,
    "act-rate-exceeded",
    "clock-not-trusted",
    "identity-deleted",
    "no-key-access",
    "not-authorized",
    "not-ready",
    "passphrase-needed",
    "wrong-passphrase",
)
ISSUE_ERRORS = (
    *GROUP_ERRORS,
    *SIGN_ERRORS,
    "chain-too-long",
    "circular-chain",
    "identity-not-found",
    "invalid-argument",
    "invalid-credential-info",
    "invalid-friendly-name",
    "invalid-peer-name",
    "invalid-role",
    "invalid-time-period",
    "invitation-not-trusted",
    "key-mismatch",
    "needs-revocation",
)


def is_name(part: str) -> bool:
    """Whether a segment of a route's path stands for a name."""
    return part.startswith("{")
