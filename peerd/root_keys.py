"""The private root keys of groups, one file for each, under a passphrase if its owner wants.

Whoever holds one can, alone or with as many others as the group's threshold says, issue at level 0, set the
group's properties, and prepare the next root. It is needed for these only, so the file may be taken away, and
put back for the day it is needed; till then they are refused, `no-key-access`. A group may have several keys,
and this home some of them, also keys of groups that this node knows nothing else of.

A locked key is held open only for one call, or from `unlock` until `lock` or the end of the daemon. What is
slow here, making a key from a passphrase, belongs in a worker thread.

The file of a group's first key has the group id as its name; all others have the beginning of their pid
behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from peerd.errors import ConfigError
from peerd.key_files import key_in, pem_of, read_key_file
from peerd.paths import make_private_directory, read_private, remove_durably, replace_durably
from peerd.sealed_keys import Cost, check_passphrase, is_sealed, seal, sealed_public, unseal, wrong_passphrase
from protocol.credentials.keys import PrivateKey, PublicKey
from protocol.errors import RuleError
from protocol.ids import GID_BYTES

_SUFFIX = ".pem"
_PID_BYTES_NAMED = 8
PASSPHRASES_BYTES_MAX = 64 * 1024  # of the file that unlocks a daemon's keys: arbitrary


@dataclass(frozen=True, slots=True)
class HeldRootKey:
    """A root key in this home. `sealed`: its file is under a passphrase; `locked`: it cannot be used now."""

    gid: bytes
    public: PublicKey
    path: Path
    sealed: bool
    locked: bool


class RootKeys:
    """The directory of root keys."""

    def __init__(self, directory: Path, cost: Cost | None = None) -> None:
        """Create the directory if it is missing. `cost` is that of passphrases set here. Raises: ConfigError,
        StoreError.
        """
        make_private_directory(directory)
        self._directory = directory
        self._cost = cost or Cost()
        self._unlocked: dict[tuple[bytes, bytes], PrivateKey] = {}

    # --- what is here ---------------------------------------------------------------------------------------

    def any_held(self, gid: bytes, pids: Iterable[bytes] | None = None) -> bool:
        """Whether there is a root key of this group, or one of these keys; it may still be unusable."""
        paths = self._paths(gid)
        if pids is None or not paths:
            return bool(paths)
        wanted = frozenset(pids)
        named = {f"{gid.hex()}-{pid[:_PID_BYTES_NAMED].hex()}" for pid in wanted}
        return any(
            path.stem in named if "-" in path.stem else self._may_be(gid, path, wanted) for path in paths
        )

    def _may_be(self, gid: bytes, path: Path, pids: frozenset[bytes]) -> bool:
        """Whether a file that does not say whose it is holds one of these keys, as far as can be seen."""
        found = self._held_in(gid, path)
        return found is None or found.public.pid in pids

    def gids(self) -> list[bytes]:
        """The groups of which there are keys, whether this node knows them or not."""
        names = {path.name[: 2 * GID_BYTES] for path in self._directory.glob(f"*{_SUFFIX}")}
        return [bytes.fromhex(name) for name in sorted(names) if _is_gid(name)]

    def held(self, gid: bytes) -> list[HeldRootKey]:
        """The root keys of a group whose files can be read, in the order of their names."""
        found = (self._held_in(gid, path) for path in self._paths(gid))
        return [one for one in found if one is not None]

    def _held_in(self, gid: bytes, path: Path) -> HeldRootKey | None:
        try:
            data = read_key_file(path)
            sealed = is_sealed(data)
            public = sealed_public(data) if sealed else key_in(data, path).public
        except RuleError:
            return None
        locked = sealed and (gid, public.pid) not in self._unlocked
        return HeldRootKey(gid, public, path, sealed, locked)

    # --- using one ------------------------------------------------------------------------------------------

    def load(self, gid: bytes, pids: Iterable[bytes], passphrase: str | None = None) -> PrivateKey:
        """One of these keys of a group, the first that can be used; slow only with a passphrase.

        Raises: RuleError: `no-key-access` none is here, or none can be read; `passphrase-needed`;
        `wrong-passphrase`.
        """
        wanted = frozenset(pids)
        here = sorted((one for one in self.held(gid) if one.public.pid in wanted), key=lambda one: one.locked)
        if not here:
            raise self._none_of(gid)
        first = here[0]
        if not first.locked:
            return self._usable(first)
        if passphrase is None:
            raise passphrase_needed()
        return _opened(here, passphrase)[0]

    def load_all(self, gid: bytes, pids: Iterable[bytes], passphrase: str | None = None) -> list[PrivateKey]:
        """Every one of these keys that is here and can be used; raises nothing but what a passphrase that is
        given, and opens none that is locked, makes of it: RuleError(wrong-passphrase).
        """
        wanted = frozenset(pids)
        here = [one for one in self.held(gid) if one.public.pid in wanted]
        locked = [one for one in here if one.locked]
        usable = [self._usable(one) for one in here if not one.locked]
        return usable if passphrase is None or not locked else [*usable, *_opened(locked, passphrase)]

    def _usable(self, one: HeldRootKey) -> PrivateKey:
        if one.sealed:
            return self._unlocked[one.gid, one.public.pid]
        return key_in(read_key_file(one.path), one.path)

    def _none_of(self, gid: bytes) -> RuleError:
        """Why there is no key, as far as the files say."""
        for path in self._paths(gid):
            try:
                data = read_key_file(path)
                _ = sealed_public(data) if is_sealed(data) else key_in(data, path)
            except RuleError as error:
                return error
        return no_root_key()

    # --- passphrases ----------------------------------------------------------------------------------------

    def unlock(self, gid: bytes, passphrase: str) -> None:
        """Open the locked keys of a group that this passphrase opens, until `lock`. Slow.

        Raises: RuleError: `no-key-access`, `wrong-passphrase`.
        """
        here = self.held(gid)
        if not here:
            raise self._none_of(gid)
        sealed = [one for one in here if one.sealed]
        if sealed:
            for key in _opened(sealed, passphrase):
                self._unlocked[gid, key.public.pid] = key

    def lock(self, gid: bytes) -> None:
        """Forget what `unlock` has opened."""
        self._unlocked = {name: key for name, key in self._unlocked.items() if name[0] != gid}

    def unlock_all(self, passphrases: Iterable[str]) -> tuple[int, int]:
        """Open the locked keys of every group; how many were opened, and how many stay locked. Slow."""
        named, tried = self.gids(), list(passphrases)
        for one in (one for gid in named for one in self.held(gid) if one.locked):
            for passphrase in tried:
                try:
                    self._unlocked[one.gid, one.public.pid] = unseal(read_key_file(one.path), passphrase)
                except RuleError:
                    continue
                break
        after = [one for gid in named for one in self.held(gid) if one.sealed]
        return sum(not one.locked for one in after), sum(one.locked for one in after)

    def protect(self, gid: bytes, old: str | None, new: str | None) -> None:
        """Put the keys of a group under a new passphrase, or under none; they are locked afterwards. `old` is
        the one that they are under now; keys under yet another one, former ones perhaps, are left alone.
        Durable on return. Slow.

        Raises: RuleError as `load`, StoreError.
        """
        here = self.held(gid)
        if not here:
            raise self._none_of(gid)
        sealed = [one for one in here if one.sealed]
        keys = [key_in(read_key_file(one.path), one.path) for one in here if not one.sealed]
        if sealed and old is None and (new is None or not keys):
            raise passphrase_needed()
        if sealed and old is not None:
            keys += _opened(sealed, old)
        contents = {key.public: self._contents(key, new) for key in keys}
        for one in here:
            if one.public in contents:
                replace_durably(one.path, contents[one.public])
                self._unlocked.pop((gid, one.public.pid), None)

    # --- keeping --------------------------------------------------------------------------------------------

    def save(self, gid: bytes, key: PrivateKey, passphrase: str | None = None) -> None:
        """Keep a root key of a group; durable on return, slow with a passphrase. Raises: StoreError, and
        RuleError for a passphrase that is none.
        """
        path = self._path(gid, key.public)
        assert not path.exists(), "a root key is never overwritten"
        replace_durably(path, self._contents(key, passphrase))

    def _contents(self, key: PrivateKey, passphrase: str | None) -> bytes:
        return pem_of(key) if passphrase is None else seal(key, passphrase, self._cost)

    def remove(self, gid: bytes) -> None:
        """Forget the root keys of a group, if there are any. Raises: StoreError."""
        self.lock(gid)
        for path in self._paths(gid):
            remove_durably(path)

    def remove_one(self, gid: bytes, key: PublicKey) -> None:
        """Forget one key that has come to nothing. Raises: StoreError."""
        remove_durably(self._path(gid, key))

    def _path(self, gid: bytes, key: PublicKey) -> Path:
        return self._directory / f"{gid.hex()}-{key.pid[:_PID_BYTES_NAMED].hex()}{_SUFFIX}"

    def _paths(self, gid: bytes) -> list[Path]:
        assert len(gid) == GID_BYTES
        return sorted(self._directory.glob(f"{gid.hex()}*{_SUFFIX}"))


def read_passphrases(path: Path) -> list[str]:
    """The passphrases in a file that nobody else could read, one in each line. Raises: ConfigError, NotFound,
    StoreError.
    """
    try:
        text = read_private(path, bytes_max=PASSPHRASES_BYTES_MAX).decode()
        return [check_passphrase(line) for line in text.splitlines() if line]
    except (UnicodeDecodeError, RuleError):
        raise ConfigError(
            f"the file {path} holds no passphrases",
            hint="it has one passphrase in each line, as text in UTF-8",
        ) from None


def no_root_key() -> RuleError:
    """The refusal where none of a group's root keys is."""
    return RuleError(
        "no-key-access",
        "the root key of this group is not in this home",
        hint="do it on the machine that holds it, as a rule the one where the group was created; if it is"
        " lost: peerd root rotate GROUP --with FILE",
    )


def passphrase_needed() -> RuleError:
    """The refusal of a key that is locked."""
    return RuleError(
        "passphrase-needed",
        "the root key of this group is under a passphrase, and locked",
        hint="peerd root unlock GROUP",
    )


def _opened(locked: list[HeldRootKey], passphrase: str) -> list[PrivateKey]:
    """Those that the passphrase opens. Raises: RuleError(wrong-passphrase) when it opens none."""
    keys: list[PrivateKey] = []
    for one in locked:
        try:
            keys.append(unseal(read_key_file(one.path), passphrase))
        except RuleError as error:
            if error.code != "wrong-passphrase":
                raise
    if not keys:
        raise wrong_passphrase()
    return keys


def _is_gid(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) == GID_BYTES
    except ValueError:
        return False
