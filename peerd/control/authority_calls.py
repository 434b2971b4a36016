"""The client's calls that take membership away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeVar

from peerd.control import authority_schema, schema
from peerd.control.targets import path_of

R = TypeVar("R", bound=schema.Reply)
Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


class AuthorityCalls(ABC):
    """A part of `Client`."""

    @abstractmethod
    def _get(self, path: str, reply: type[R], query: schema.Request | None = None) -> R: ...

    @abstractmethod
    def _send(self, method: Method, path: str, reply: type[R], wish: schema.Request | None = None) -> R: ...

    def revoke_member(
        self, group: str, name: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove a member."""
        path = path_of("groups", group, "members", name, "revoke")
        return self._send("POST", path, authority_schema.Removal, wish)

    def revoke_credential(
        self, group: str, grant_id: str, wish: authority_schema.Revocation
    ) -> authority_schema.Removal:
        """Remove the member that holds a credential."""
        path = path_of("groups", group, "credentials", grant_id, "revoke")
        return self._send("POST", path, authority_schema.Removal, wish)

    def annul_act(
        self, group: str, act_id: str, wish: authority_schema.Annulment
    ) -> authority_schema.Removal:
        """Take one act back."""
        path = path_of("groups", group, "acts", act_id, "annul")
        return self._send("POST", path, authority_schema.Removal, wish)

    def leave_group(self, group: str, wish: authority_schema.GroupLeave) -> authority_schema.Removal:
        """Give up the own membership."""
        return self._send("POST", path_of("groups", group, "leave"), authority_schema.Removal, wish)
