"""Issuers: under what somebody signs, and whether they may sign at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.authority.admission import root_line
from protocol.authority.grants import Grant
from protocol.authority.root import Root
from protocol.authority.view import View
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.errors import RuleError
from protocol.limits import HLC_AHEAD_MS_MAX, LEVEL_ROOT
from protocol.peer_time import Moment, Window, hlc_ms


@dataclass(frozen=True, slots=True)
class Standing:
    """What somebody may grant, apart from the private key: under which credential, None for the root's, with
    whose key (pid) certificates would be signed, inside which window.
    """

    level: int
    cred: bytes
    grant: Grant | None
    window: Window
    pid: bytes

    @classmethod
    def of_root(cls, root: Root, signers: Sequence[bytes]) -> Standing:
        """The root's, when these keys sign (ascending pids)."""
        return cls(LEVEL_ROOT, root.rotation, None, root.window, root_line(root, signers)[0])

    def line(self, view: View) -> tuple[bytes, ...]:
        """The pids of the keys in the chain of certificates that a granted one would follow."""
        if self.grant is None:
            return (self.pid,)
        admitted = view.admitted(self.cred)
        return () if admitted is None else admitted.line


@dataclass(frozen=True, slots=True)
class Issuer:
    """Under what this daemon signs: its own live grant, or the root version (`grant` None, level 0).

    `window` bounds all that it issues.
    """

    signer: PrivateKey
    level: int
    cred: bytes
    grant: Grant | None
    window: Window

    @classmethod
    def member(cls, signer: PrivateKey, grant: Grant) -> Issuer:
        """A member under one of its grants."""
        return cls(signer, grant.level, grant.act_id, grant, grant.window)

    @classmethod
    def root(cls, signer: PrivateKey, root: Root) -> Issuer:
        """The root, by one of its operating keys."""
        return cls(signer, LEVEL_ROOT, root.rotation, None, root.window)

    @property
    def standing(self) -> Standing:
        """All but the private key."""
        return Standing(self.level, self.cred, self.grant, self.window, self.signer.public.pid)


def root_issuer(root: Root | None, key: PrivateKey | None) -> Issuer:
    """The root, by one key that suffices. Raises: RuleError("no-key-access", "signature-missing")."""
    if root is None or key is None or key.public.pid not in root.operating:
        raise RuleError(
            "no-key-access",
            "this daemon does not hold the group's root key",
            hint="do this where the key is, or carry a draft there: peerd root prepare --help",
        )
    if root.threshold > 1:
        raise RuleError(
            "signature-missing",
            f"the group's root signs with {root.threshold} keys together",
            hint="prepare it for them: peerd root prepare --help",
        )
    return Issuer.root(key, root)


def check_certified(root: Root | None, key: PublicKey) -> None:
    """Refuse to grant by a key that no chain of certificates can begin with. Raises: RuleError."""
    if root is None or not root.certifies(key.pid):
        raise RuleError(
            "no-key-access",
            "the rotation that installed this root key holds no root certificate of it",
            hint="let another key of the root sign, or rotate again: peerd root rotate --help",
        )


def check_ready(view: View) -> Root:
    """The root version that signs now. Raises: RuleError(group-not-ready) before genesis has arrived."""
    if view.root is None:
        raise RuleError(
            "group-not-ready",
            "the group's acts have not arrived on this node yet",
            hint="connect to a member first: peerd group connect GROUP --address HOST:PORT",
        )
    return view.root


def check_clock(view: View, now: Moment) -> None:
    """Refuse to sign by a clock that lies behind what the group has signed. Raises: RuleError."""
    behind_ms = hlc_ms(view.latest_hlc) - now.utc_ms
    if behind_ms > HLC_AHEAD_MS_MAX:
        raise RuleError(
            "clock-not-trusted",
            f"this machine's clock is {behind_ms // 1000} seconds behind the group's latest act",
            hint="set the clock; credential issue --trust-clock signs by it all the same",
        )
