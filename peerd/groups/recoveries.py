"""Recovery keys: drawn here, handed out once, and read back on the day that they are needed.

Between drawing and the act that commits to them only their public halves are kept, in memory, for ten
minutes. A root that several keys replace is committed to all of them, so whoever uses some must show the
public halves of the others: these are noted beside each key, in a line that begins with `# set:`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerd.control import root_schema, schema
from peerd.control.schema import time_at_ms
from peerd.groups.base64url import read_base64url, write_base64url
from peerd.groups.environment import Environment
from protocol.authority.root_acts import RecoverySet
from protocol.credentials.keys import PrivateKey, public_key_untrusted
from protocol.credentials.recovery import format_recovery_key, parse_recovery_key
from protocol.errors import RemoteProtocolError, RuleError
from protocol.peer_time import Moment

_TOKEN_BYTES = 16
_TOKEN_MS = 10 * 60 * 1000
_TOKENS_MAX = 16  # arbitrary: nobody creates that many groups at once
_SET_LINE = "# set:"


@dataclass(frozen=True, slots=True)
class _Drawn:
    keys: RecoverySet
    expires_ms: int


class Recoveries:
    """The recovery keys that were drawn and are not in use yet."""

    def __init__(self, environment: Environment) -> None:
        """Draws with the environment's randomness."""
        self._environment = environment
        self._drawn: dict[str, _Drawn] = {}

    def draw(self, wish: root_schema.RecoveryDraw) -> schema.RecoveryKey:
        """Draw a set of keys; what is answered is all that there is of their private halves. Raises:
        RuleError(invalid-argument).
        """
        if wish.threshold > wish.keys:
            raise RuleError(
                "invalid-argument",
                f"{wish.threshold} of {wish.keys} recovery keys cannot be asked for",
                hint="peerd root rotate --help",
            )
        now_ms = self._environment.clock.moment().utc_ms
        self._drawn = dict(list(self._drawn.items())[-(_TOKENS_MAX - 1) :])
        keys = [PrivateKey.from_seed(self._environment.draw(32)) for _ in range(wish.keys)]
        drawn = RecoverySet.of([key.public for key in keys], wish.threshold)
        token = self._environment.draw(_TOKEN_BYTES).hex()
        self._drawn[token] = _Drawn(drawn, now_ms + _TOKEN_MS)
        texts = [format_recovery_key(key.seed) for key in keys]
        return schema.RecoveryKey(
            recovery_key=texts[0],
            recovery_keys=texts,
            recovery_set=set_text(drawn),
            recovery_token=token,
            expires=time_at_ms(now_ms + _TOKEN_MS),
        )

    def find(self, token: str, now: Moment) -> RecoverySet:
        """The keys that a token stands for. Raises: RuleError(invalid-argument)."""
        found = self._drawn.get(token)
        if found is None or found.expires_ms <= now.utc_ms:
            raise RuleError(
                "invalid-argument",
                "the recovery token is unknown, used, or older than ten minutes",
                hint="begin again: peerd group create draws a new recovery key",
            )
        return found.keys

    def used(self, token: str) -> None:
        """A token is good for one use."""
        self._drawn.pop(token, None)


def set_text(keys: RecoverySet) -> str:
    """What is noted beside a key of a set: how many of which keys."""
    names = ",".join(write_base64url(key.raw) for key in keys.keys)
    return f"{keys.threshold} of {names}"


def read_set(text: str) -> RecoverySet:
    """The set that a note names, alone or in its line of a file. Raises: RuleError(invalid-argument)."""
    noted = _noted(text) or text.strip()
    threshold, of, names = noted.partition(" of ")
    try:
        keys = [public_key_untrusted(read_base64url(name) or b"") for name in names.split(",")]
        return RecoverySet.of(keys, int(threshold) if of and len(threshold) < 3 else 0)
    except (ValueError, RemoteProtocolError):
        raise RuleError(
            "invalid-argument",
            "this names no set of recovery keys",
            hint="it is the line of a recovery key's file that begins with “# set:”",
        ) from None


def read_recovery(texts: Sequence[str]) -> tuple[list[PrivateKey], RecoverySet | None]:
    """The keys in these texts, each once, and the set that they were drawn with; without a note of it, a key
    that is alone is all of its set. Raises: RuleError(invalid-argument).
    """
    keys = {key.public: key for key in (PrivateKey.from_seed(parse_recovery_key(text)) for text in texts)}
    noted = next((text for text in texts if _noted(text)), None)
    if noted is not None:
        return list(keys.values()), read_set(noted)
    return list(keys.values()), RecoverySet.of(list(keys), 1) if len(keys) == 1 else None


def _noted(text: str) -> str | None:
    lines = (line.strip() for line in text.splitlines())
    return next((line.removeprefix(_SET_LINE).strip() for line in lines if line.startswith(_SET_LINE)), None)
