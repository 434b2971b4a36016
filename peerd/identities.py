"""The identities of this daemon: key pairs with a name, kept as files.

An identity is two files. Its *description* (JSON: names, public key, dates) is written last, so that it
alone decides whether the identity exists. Its *key* (PEM) stands beside it and may be missing or unusable:
the identity is then still listed, and using it says `no-key-access`. Deleting writes the date into the
description, then removes the key: the description stays as a mark, so that later use says `identity-deleted`
and not that there never was one. A crash in between is finished at the next opening.

The files are the truth, read once at opening; only the daemon that holds the home's lock writes them. Methods
block for a few milliseconds when they write, and are not to be called from two threads at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from peerd.errors import StoreCorrupt, StoreFull, StoreTooNew
from peerd.key_files import draw_seed, read_key, write_key
from peerd.lookup import find_name
from peerd.paths import make_private_directory, read_private, remove_durably, replace_durably
from peerd.printable import printable
from protocol.credentials.certificates import build_idc
from protocol.credentials.documents import write_identity_document
from protocol.credentials.keys import PrivateKey, PublicKey, public_key_untrusted
from protocol.credentials.names import (
    PeerName,
    check_classifier,
    check_friendly_name,
    name_of_key,
    parse_peer_name,
)
from protocol.errors import ProtocolError, RuleError
from protocol.ids import tagged_hash
from protocol.limits import BACKDATING_S, END_OF_TIME_S
from protocol.peer_time import Window

FORMAT = 1
IDENTITIES_MAX = 1024  # deleted ones too: arbitrary, bounds the time of opening to about 0.1 s
DESCRIPTION_BYTES_MAX = 16 * 1024  # two names of 255 characters take at most 12 bytes each as JSON escapes
_STEM_HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity; times are milliseconds since 1970 UTC, `deleted_ms` is None while it lives."""

    name: PeerName
    key: PublicKey
    chosen_name: str
    created_ms: int
    deleted_ms: int | None = None

    @property
    def peer_name(self) -> str:
        """The name that others know it by."""
        return str(self.name)

    @property
    def friendly_name(self) -> str:
        """The name chosen for the eyes of people; the peer name when none was chosen."""
        return self.chosen_name or self.peer_name


class _Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in a description file."""

    peerd_identity: int
    peer_name: str
    public_key: str
    friendly_name: str
    created_ms: int
    deleted_ms: int | None


class Identities:
    """The directory of identities."""

    def __init__(self, directory: Path) -> None:
        """Create the directory if it is missing, and read what is there.

        Raises: ConfigError, StoreError; StoreCorrupt and StoreTooNew name the file.
        """
        make_private_directory(directory)
        self._directory = directory
        self._identities: dict[str, Identity] = {}
        self._keys: dict[str, PrivateKey] = {}
        for path in sorted(directory.glob("*.json")):
            identity = _read_description(path)
            self._identities[identity.peer_name] = identity
            if identity.deleted_ms is not None and self._key_path(identity).exists():
                remove_durably(self._key_path(identity))

    def all(self) -> tuple[Identity, ...]:
        """Those that were not deleted, by peer name."""
        return tuple(self._identities[name] for name in sorted(self._identities) if self._lives(name))

    def find(self, text: str) -> Identity:
        """The identity that a person means by `text`.

        Raises: RuleError (identity-not-found, identity-deleted), Conflict("ambiguous-name").
        """
        name = find_name(text, [name for name in self._identities if self._lives(name)])
        if name is not None:
            return self._identities[name]
        deleted = find_name(text, self._identities)
        if deleted is not None:
            raise RuleError(
                "identity-deleted",
                f"the identity {printable(deleted)} was deleted, and its key with it",
                hint="peerd identity create makes a new one, with a new name",
            )
        raise RuleError(
            "identity-not-found",
            f"there is no identity “{printable(text)}” here",
            hint="peerd identity list shows those there are",
        )

    def default(self, now_ms: int) -> Identity:
        """The identity meant when none is named: the oldest; the first use makes it. Raises: StoreError."""
        living = sorted(self.all(), key=lambda identity: (identity.created_ms, identity.peer_name))
        return living[0] if living else self.create("", "", now_ms)

    def create(
        self, classifier: str, friendly_name: str, now_ms: int, *, key: PrivateKey | None = None
    ) -> Identity:
        """Make an identity, of a fresh key if none is given; durable on return.

        Raises: RuleError (already-exists, invalid-classifier, classifier-too-long, invalid-friendly-name),
        StoreError.
        """
        check_classifier(classifier)
        check_friendly_name(friendly_name)
        if len(self._identities) >= IDENTITIES_MAX:
            raise StoreFull(
                f"this home has had {IDENTITIES_MAX} identities, deleted ones counted, and keeps no more",
                hint="use another home: peerd --home DIR run",
            )
        key = key or PrivateKey.from_seed(draw_seed())
        name = name_of_key(key.public, classifier)
        if str(name) in self._identities and self._lives(str(name)):
            raise RuleError(
                "already-exists",
                f"the identity {name} exists already",
                hint="give the other one another classifier",
            )
        identity = Identity(name, key.public, friendly_name, now_ms)
        write_key(self._key_path(identity), key)
        self._keep(identity)
        self._keys[identity.peer_name] = key
        return identity

    def private_key(self, name: PeerName | str) -> PrivateKey:
        """The private key of an identity named in full or as `find` understands it.

        Raises: RuleError (no-key-access, identity-not-found, identity-deleted), Conflict("ambiguous-name").
        """
        identity = self.find(str(name))
        held = self._keys.get(identity.peer_name)
        if held is None:
            held = self._keys[identity.peer_name] = read_key(self._key_path(identity), identity.key)
        return held

    def reread_key(self, name: PeerName | str) -> PrivateKey:
        """The same from its file as it is now: who takes the file away takes the use of the key away.

        Raises: as `private_key`.
        """
        identity = self.find(str(name))
        return read_key(self._key_path(identity), identity.key)

    def rename(self, name: PeerName | str, friendly_name: str) -> Identity:
        """Choose another friendly name, or by an empty one the peer name; durable on return.

        Raises: RuleError (as `find`, and invalid-friendly-name), Conflict("ambiguous-name"), StoreError.
        """
        check_friendly_name(friendly_name)
        identity = replace(self.find(str(name)), chosen_name=friendly_name)
        self._keep(identity)
        return identity

    def delete(self, name: PeerName | str, now_ms: int) -> Identity:
        """Remove the private key for good and leave a mark; durable on return.

        Whether a group still needs the identity is for the caller to know.
        Raises: RuleError (as `find`), Conflict("ambiguous-name"), StoreError.
        """
        identity = replace(self.find(str(name)), deleted_ms=now_ms)
        self._keep(identity)
        self._keys.pop(identity.peer_name, None)
        remove_durably(self._key_path(identity))
        return identity

    def document(self, name: PeerName | str) -> str:
        """The identity document (XML), to be handed to an administrator: the same each time.

        Raises: RuleError (as `private_key`), Conflict("ambiguous-name").
        """
        identity = self.find(str(name))
        window = Window(identity.created_ms // 1000 - BACKDATING_S, END_OF_TIME_S)
        idc = build_idc(self.private_key(identity.peer_name), identity.peer_name, window)
        return write_identity_document(idc)

    def _lives(self, name: str) -> bool:
        return self._identities[name].deleted_ms is None

    def _keep(self, identity: Identity) -> None:
        description = _Description(
            peerd_identity=FORMAT,
            peer_name=identity.peer_name,
            public_key=identity.key.raw.hex(),
            friendly_name=identity.chosen_name,
            created_ms=identity.created_ms,
            deleted_ms=identity.deleted_ms,
        )
        text = msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n"
        replace_durably(self._directory / f"{_stem(identity.name)}.json", text)
        self._identities[identity.peer_name] = identity

    def _key_path(self, identity: Identity) -> Path:
        return self._directory / f"{_stem(identity.name)}.pem"


def _stem(name: PeerName) -> str:
    """A file name for a peer name: a classifier may hold characters that no file name can."""
    digest = tagged_hash("peerd/identity-file/1", name.classifier.encode())
    return f"{name.authority}-{digest[:_STEM_HASH_BYTES].hex()}"


def _read_description(path: Path) -> Identity:
    """Raises: ConfigError, StoreError (StoreCorrupt, StoreTooNew)."""
    data = read_private(path, bytes_max=DESCRIPTION_BYTES_MAX)
    try:
        form = msgspec.json.decode(data, type=dict[str, object]).get("peerd_identity")
        if isinstance(form, int) and form > FORMAT:
            raise StoreTooNew(
                f"{path} is of format {form}, written by a newer peerd",
                hint="install that newer peerd; nothing was changed",
            )
        description = msgspec.json.decode(data, type=_Description)
        name = parse_peer_name(description.peer_name)
        key = public_key_untrusted(bytes.fromhex(description.public_key))
        check_friendly_name(description.friendly_name)
    except (msgspec.MsgspecError, ProtocolError, ValueError) as error:
        raise _corrupt(path, str(error)) from None
    if name.authority != key.authority:
        raise _corrupt(path, "its name and its public key do not belong together")
    if path.stem != _stem(name):
        raise _corrupt(path, "it stands under the name of another identity")
    return Identity(name, key, description.friendly_name, description.created_ms, description.deleted_ms)


def _corrupt(path: Path, reason: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the description of an identity, {path}, is damaged: {printable(reason)}",
        hint=f"put it back from a backup, or take it away together with {path.with_suffix('.pem').name}",
    )
