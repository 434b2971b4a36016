"""The client's calls about a group's root."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from peerd.control import root_schema, schema
from peerd.control.authority_calls import Method
from peerd.control.targets import path_of

R = TypeVar("R", bound=schema.Reply)


class RootCalls(ABC):
    """A part of `Client`."""

    @abstractmethod
    def _get(self, path: str, reply: type[R], query: schema.Request | None = None) -> R: ...

    @abstractmethod
    def _send(self, method: Method, path: str, reply: type[R], wish: schema.Request | None = None) -> R: ...

    def root(self, group: str) -> root_schema.Root:
        """A group's root."""
        return self._get(path_of("groups", group, "root"), root_schema.Root)

    def rotate_root(self, group: str, wish: root_schema.RootRotation) -> root_schema.RootRotated:
        """Replace the root."""
        return self._send("POST", path_of("groups", group, "root", "rotate"), root_schema.RootRotated, wish)

    def prepare_root_act(self, group: str, wish: root_schema.RootPreparation) -> root_schema.RootFile:
        """Prepare something that the root is to sign elsewhere."""
        return self._send("POST", path_of("groups", group, "root", "prepare"), root_schema.RootFile, wish)

    def sign_root_file(self, wish: root_schema.RootSigning) -> root_schema.RootFile:
        """Sign what was prepared, with the keys that are in this home."""
        return self._send("POST", path_of("root", "sign"), root_schema.RootFile, wish)

    def import_root_act(self, group: str, wish: root_schema.RootImport) -> root_schema.RootImported:
        """Publish what all its keys have signed."""
        return self._send("POST", path_of("groups", group, "root", "import"), root_schema.RootImported, wish)

    def protect_root(self, group: str, wish: root_schema.RootProtection) -> root_schema.RootKeys:
        """Put the root keys in this home under a passphrase, or under none."""
        return self._send("POST", path_of("groups", group, "root", "protect"), root_schema.RootKeys, wish)

    def unlock_root(self, group: str, wish: root_schema.RootUnlocking) -> root_schema.RootKeys:
        """Open the root keys in this home until they are locked."""
        return self._send("POST", path_of("groups", group, "root", "unlock"), root_schema.RootKeys, wish)

    def lock_root(self, group: str) -> root_schema.RootKeys:
        """Forget the passphrase of the root keys in this home."""
        return self._send(
            "POST", path_of("groups", group, "root", "lock"), root_schema.RootKeys, schema.Empty()
        )
