"""Peer names, group names, classifiers and friendly names: their grammar, and which characters they may hold.

`name = authority "." classifier`, `authority = 40 of 0-9 a-f`, `classifier = 0 to 149 characters`; the first
dot ends the authority, case counts (windows-grouping.md 3.1). Characters are Unicode code points.

Differs: the original allows everything but NUL in a classifier. Here no text may hold characters that change
how the text around them is shown (controls, line separators, direction overrides) or that have no place in
UTF-8 or XML. The list is fixed: one drawn from a Unicode table would differ between versions of Python, and
two nodes would judge one name differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protocol.credentials.keys import PublicKey
from protocol.errors import RuleError
from protocol.ids import authority_of
from protocol.limits import CLASSIFIER_CHARACTERS_MAX, COMMENT_CHARACTERS_MAX, FRIENDLY_NAME_CHARACTERS_MAX

_AUTHORITY = re.compile(r"[0-9a-f]{40}")
_UNFIT = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls, NUL and line breaks among them
    "\u2028\u2029"  # line and paragraph separator
    "\u202a-\u202e\u2066-\u2069"  # direction embeddings, overrides and isolates
    "\ud800-\udfff"  # halves of characters, which UTF-8 cannot carry
    "\ufdd0-\ufdef\ufeff\ufffe\uffff"  # no characters, and the invisible byte order mark
    "]"
)
_NAMES_HINT = "peerd identity list shows full names"


@dataclass(frozen=True, slots=True, order=True)
class PeerName:
    """A peer or group name; `authority` is 40 lower-case hex digits, `classifier` 0 to 149 characters."""

    authority: str
    classifier: str

    def __str__(self) -> str:
        """The name as people and programs write it."""
        return f"{self.authority}.{self.classifier}"


def parse_peer_name(text: str) -> PeerName:
    """Take a peer or group name apart. Raises: RuleError (invalid-peer-name)."""
    authority, dot, classifier = text.partition(".")
    if not dot or not _AUTHORITY.fullmatch(authority):
        # Differs: the original also knows authority "0", a name without a key; its groups never took one.
        raise RuleError(
            "invalid-peer-name",
            "a name is 40 of the characters 0-9 a-f, a dot, and a classifier",
            hint=_NAMES_HINT,
        )
    try:
        return PeerName(authority, check_classifier(classifier))
    except RuleError as error:
        raise RuleError("invalid-peer-name", error.detail, hint=_NAMES_HINT) from None


def name_of_key(key: PublicKey, classifier: str) -> PeerName:
    """The peer name of a key. Raises: RuleError (as `check_classifier`)."""
    return PeerName(key.authority, check_classifier(classifier))


def name_of_group(gid: bytes, classifier: str) -> PeerName:
    """The group name of a gid (32 bytes). Raises: RuleError (as `check_classifier`)."""
    return PeerName(authority_of(gid), check_classifier(classifier))


def check_classifier(text: str) -> str:
    """Return a classifier unchanged. Raises: RuleError (classifier-too-long, invalid-classifier)."""
    if len(text) > CLASSIFIER_CHARACTERS_MAX:
        raise RuleError(
            "classifier-too-long",
            f"the classifier has {len(text)} characters, {CLASSIFIER_CHARACTERS_MAX} are allowed",
            hint="choose a shorter one",
        )
    _check_characters(text, "invalid-classifier", "classifier")
    return text


def check_friendly_name(text: str) -> str:
    """Return a friendly name unchanged; it may be empty. Raises: RuleError (invalid-friendly-name)."""
    _check_length(text, FRIENDLY_NAME_CHARACTERS_MAX, "invalid-friendly-name", "friendly name")
    _check_characters(text, "invalid-friendly-name", "friendly name")
    return text


def check_comment(text: str) -> str:
    """Return a group's comment unchanged; it may be empty. Raises: RuleError (invalid-properties)."""
    _check_length(text, COMMENT_CHARACTERS_MAX, "invalid-properties", "comment")
    _check_characters(text, "invalid-properties", "comment")
    return text


def _check_length(text: str, characters_max: int, code: str, what: str) -> None:
    if len(text) > characters_max:
        raise RuleError(
            code,
            f"the {what} has {len(text)} characters, {characters_max} are allowed",
            hint="choose a shorter one",
        )


def _check_characters(text: str, code: str, what: str) -> None:
    found = _UNFIT.search(text)
    if found:
        # Guards: the character is named, not shown, or the error message would do what it is refused for.
        raise RuleError(
            code,
            f"the {what} holds the character U+{ord(found.group()):04X}, which cannot be shown safely",
            hint="leave out control characters and direction marks",
        )
