"""Private keys under a passphrase: what stands in a key file that is useless to whoever copies it.

Argon2id makes a key from the passphrase, and ChaCha20-Poly1305 locks the seed with that, together with all
that stands beside it. The public key is in the open, so that a file can be told from others while it is
locked. How much work Argon2id was given stands in the file: a later version may give it more.

Source: RFC 9106, section 4, second recommended option (64 MiB, 3 passes, 4 lanes).
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta, Struct

from protocol.codec import decode_untrusted_struct, encode_struct, prepared
from protocol.credentials.keys import PrivateKey, PublicKey, public_key_untrusted
from protocol.errors import RemoteProtocolError, RuleError

PASSPHRASE_CHARACTERS_MAX = 1024  # arbitrary: several lines of text
SEALED_BYTES_MAX = 512

_BEGIN, _END = b"-----BEGIN PEERD SEALED KEY-----", b"-----END PEERD SEALED KEY-----"
_LINE_CHARACTERS = 64
_KEY_BYTES = _PUBLIC_BYTES = 32
_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
_VERSION = 1
_ONE_AT_A_TIME = threading.Lock()  # each takes 64 MiB, whoever asks


@dataclass(frozen=True, slots=True)
class Cost:
    """How much work one guess of a passphrase is."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4


class _Head(Struct, frozen=True, kw_only=True):
    """What stands in the open; the bounds keep a file of somebody else's from taking the machine."""

    v: Annotated[int, Meta(ge=_VERSION, le=_VERSION)]
    public: Annotated[bytes, Meta(min_length=_PUBLIC_BYTES, max_length=_PUBLIC_BYTES)]
    memory: Annotated[int, Meta(ge=8, le=1024 * 1024)]
    passes: Annotated[int, Meta(ge=1, le=64)]
    lanes: Annotated[int, Meta(ge=1, le=16)]
    salt: Annotated[bytes, Meta(min_length=_SALT_BYTES, max_length=_SALT_BYTES)]
    nonce: Annotated[bytes, Meta(min_length=_NONCE_BYTES, max_length=_NONCE_BYTES)]


@prepared
class _File(_Head, frozen=True, kw_only=True):
    sealed: Annotated[bytes, Meta(min_length=_KEY_BYTES + _TAG_BYTES, max_length=_KEY_BYTES + _TAG_BYTES)]


def check_passphrase(passphrase: str) -> str:
    """A passphrase that may be set, or tried, as it was typed. Raises: RuleError(invalid-argument)."""
    if not passphrase or len(passphrase) > PASSPHRASE_CHARACTERS_MAX:
        raise RuleError(
            "invalid-argument",
            f"a passphrase has 1 to {PASSPHRASE_CHARACTERS_MAX} characters",
            hint="a line of a few words that nobody would guess is a good one",
        )
    return passphrase


def seal(key: PrivateKey, passphrase: str, cost: Cost | None = None) -> bytes:
    """The contents of a key file that only this passphrase opens. Takes a fraction of a second, and memory:
    in a worker thread. Raises: RuleError(invalid-argument).
    """
    cost = cost or Cost()
    head = _Head(
        v=_VERSION,
        public=key.public.raw,
        memory=cost.memory_kib,
        passes=cost.passes,
        lanes=cost.lanes,
        salt=os.urandom(_SALT_BYTES),
        nonce=os.urandom(_NONCE_BYTES),
    )
    locked = ChaCha20Poly1305(_derived(head, passphrase)).encrypt(head.nonce, key.seed, encode_struct(head))
    whole = {field: getattr(head, field) for field in _Head.__struct_fields__}
    text = base64.b64encode(encode_struct(_File(**whole, sealed=locked)))
    lines = [text[start : start + _LINE_CHARACTERS] for start in range(0, len(text), _LINE_CHARACTERS)]
    return b"\n".join((_BEGIN, *lines, _END, b""))


def is_sealed(data: bytes) -> bool:
    """Whether the contents of a key file are under a passphrase, if they are anything."""
    return data.lstrip().startswith(_BEGIN)


def sealed_public(data: bytes) -> PublicKey:
    """Whose key it is that a file holds locked; nothing vouches for that before it is opened.

    Raises: RuleError(no-key-access).
    """
    return _public(_read(data))


def unseal(data: bytes, passphrase: str) -> PrivateKey:
    """The key in a file; takes as long as `seal`. Raises: RuleError(no-key-access), it is damaged;
    RuleError(wrong-passphrase).
    """
    file = _read(data)
    public = _public(file)
    head = _Head(**{field: getattr(file, field) for field in _Head.__struct_fields__})
    try:
        seed = ChaCha20Poly1305(_derived(head, passphrase)).decrypt(
            head.nonce, file.sealed, encode_struct(head)
        )
    except InvalidTag:
        raise wrong_passphrase() from None
    key = PrivateKey.from_seed(seed)
    if key.public != public:
        raise _damaged()
    return key


def wrong_passphrase() -> RuleError:
    """The refusal of a passphrase that opens nothing; what was typed is not in it."""
    return RuleError(
        "wrong-passphrase",
        "the passphrase does not open the key",
        hint="try again: peerd root unlock GROUP; without the passphrase, replace the root with a recovery"
        " key: peerd root rotate GROUP --with FILE",
    )


def _derived(head: _Head, passphrase: str) -> bytes:
    """The key that a passphrase makes; how a keyboard composes its letters does not matter."""
    text = unicodedata.normalize("NFC", check_passphrase(passphrase)).encode("utf-8", "surrogatepass")
    made = Argon2id(
        salt=head.salt,
        length=_KEY_BYTES,
        iterations=head.passes,
        lanes=head.lanes,
        memory_cost=max(head.memory, 8 * head.lanes),
    )
    with _ONE_AT_A_TIME:
        return made.derive(text)


def _read(data: bytes) -> _File:
    lines = data.split()
    text = b"".join(lines)
    begin, end = _BEGIN.replace(b" ", b""), _END.replace(b" ", b"")
    if not (text.startswith(begin) and text.endswith(end)):
        raise _damaged()
    try:
        raw = base64.b64decode(text[len(begin) : -len(end)], validate=True)
        return decode_untrusted_struct(raw, _File, bytes_max=SEALED_BYTES_MAX)
    except (binascii.Error, RemoteProtocolError):
        raise _damaged() from None


def _public(file: _File) -> PublicKey:
    try:
        return public_key_untrusted(file.public)
    except RemoteProtocolError:
        raise _damaged() from None


def _damaged() -> RuleError:
    return RuleError(
        "no-key-access", "the key file is damaged", hint="put the key file back from a backup, with mode 600"
    )
