"""The client's calls that take membership away, and those that ask why things are as they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal, TypeVar

from peerd.control import authority_schema, schema
from peerd.control.limits import PAGE_LIMIT_MAX
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

    def audit(self, group: str, query: schema.Page) -> authority_schema.Audit:
        """One page of all acts, with what became of them."""
        return self._get(path_of("groups", group, "audit"), authority_schema.Audit, query)

    def whole_audit(self, group: str) -> Iterator[authority_schema.AuditedAct]:
        """All acts, in the order of their arrival."""
        cursor: str | None = None
        while True:
            page = self.audit(group, schema.Page(cursor=cursor, limit=PAGE_LIMIT_MAX))
            yield from page.acts
            if (cursor := page.next) is None:
                return

    def why_member(self, group: str, name: str) -> authority_schema.WhyMember:
        """Why somebody is a member or not."""
        return self._get(path_of("groups", group, "why", "members", name), authority_schema.WhyMember)

    def why_record(self, group: str, record_id: str) -> authority_schema.WhyRecord:
        """Why a record is as it is."""
        return self._get(path_of("groups", group, "why", "records", record_id), authority_schema.WhyRecord)
