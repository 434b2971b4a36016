"""The part of the small world that is about roots."""

from __future__ import annotations

from typing import Any

from peerd.control import root_schema
from protocol.errors import RuleError
from tests.peerd.control.fake_authority import hex_of

_KEY_HEX = hex_of("root key")


def root_key(*, operating: bool = True, locked: bool = False) -> root_schema.RootKey:
    return root_schema.RootKey(key_id=_KEY_HEX, operating=operating, held=True, sealed=locked, locked=locked)


class FakeRoot:
    """A part of `FakeOperations`, which has what is left open here."""

    group_name: Any
    group: Any
    tokens: list[str]

    async def root(self, group: str) -> root_schema.Root:
        name = self.group_name(group)
        return root_schema.Root(
            group=name,
            gid=hex_of("gid", name),
            version=1,
            act_id=hex_of("genesis", name),
            threshold=1,
            keys=[root_key()],
            history=[],
            rivals=[],
        )

    async def rotate_root(self, group: str, wish: root_schema.RootRotation) -> root_schema.RootRotated:
        name = self.group_name(group)
        if not wish.dry_run and wish.recovery_token not in self.tokens:
            raise RuleError("invalid-argument", "The recovery token is not known.", hint="ask for a new one")
        return root_schema.RootRotated(
            group=name,
            version=2,
            act_id=None if wish.dry_run else hex_of("rotation", name),
            threshold=wish.threshold,
            cosigned=False,
            credentials=[],
            members_lost=[],
        )

    async def prepare_root_act(self, group: str, wish: root_schema.RootPreparation) -> root_schema.RootFile:
        name = self.group_name(group)
        if not wish.key:
            raise RuleError("invalid-argument", "This world prepares keys alone.", hint="key")
        return self._file(name, "key-wanted")

    async def sign_root_file(self, wish: root_schema.RootSigning) -> root_schema.RootFile:
        if wish.file != "koGh":
            raise RuleError("draft-not-acceptable", "It is none of peerd's files.", hint="prepare one")
        return self._file("a" * 40 + ".g", "root-key")

    def _file(self, group: str, what: Any) -> root_schema.RootFile:
        return root_schema.RootFile(
            file="koGh", what=what, group=group, contents={"wanted": "a key"}, missing=[], signed_now=[]
        )

    async def import_root_act(self, group: str, wish: root_schema.RootImport) -> root_schema.RootImported:
        name = self.group_name(group)
        if wish.file != "koGh":
            raise RuleError("draft-not-acceptable", "It is none of peerd's files.", hint="prepare one")
        return root_schema.RootImported(
            group=name, act_ids=[hex_of("act", name)], fresh=True, credentials=[], version=None
        )

    async def protect_root(self, group: str, wish: root_schema.RootProtection) -> root_schema.RootKeys:
        return self._keys(group, locked=wish.new_passphrase is not None)

    async def unlock_root(self, group: str, wish: root_schema.RootUnlocking) -> root_schema.RootKeys:
        if wish.passphrase != "sesame":
            raise RuleError("wrong-passphrase", "It does not open the key.", hint="try again")
        return self._keys(group, locked=False)

    async def lock_root(self, group: str) -> root_schema.RootKeys:
        return self._keys(group, locked=True)

    def _keys(self, group: str, *, locked: bool) -> root_schema.RootKeys:
        return root_schema.RootKeys(gid=hex_of("gid", self.group_name(group)), keys=[root_key(locked=locked)])
