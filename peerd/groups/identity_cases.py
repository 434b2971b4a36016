"""What a user can do with identities."""

from __future__ import annotations

from shlex import quote

from peerd.control import schema
from peerd.control.schema import time_at_ms
from peerd.errors import Conflict
from peerd.groups.base64url import write_base64url
from peerd.groups.registry import Registry
from peerd.identities import Identity


class IdentityCases:
    """Identities, and the groups open under them."""

    def __init__(self, registry: Registry) -> None:
        """Reads the registry to see which identity is in use."""
        self._registry = registry
        self._identities = registry.identities

    def identities(self) -> schema.Identities:
        """All identities."""
        return schema.Identities(identities=[self._render(identity) for identity in self._identities.all()])

    def identity(self, name: str) -> schema.Identity:
        """One identity."""
        return self._render(self._identities.find(name))

    def identity_document(self, name: str) -> schema.IdentityDocument:
        """One identity's document."""
        identity = self._identities.find(name)
        return schema.IdentityDocument(
            peer_name=identity.peer_name, document=self._identities.document(identity.name)
        )

    async def create_identity(self, wish: schema.IdentityCreate) -> schema.Identity:
        """Make a key pair."""
        now = self._registry.environment.clock.moment()
        return self._render(self._identities.create(wish.classifier, wish.friendly_name, now.utc_ms))

    async def change_identity(self, name: str, wish: schema.IdentityChange) -> schema.Identity:
        """Rename an identity for the eyes of people."""
        identity = self._identities.find(name)
        return self._render(self._identities.rename(identity.name, wish.friendly_name))

    async def delete_identity(self, name: str) -> schema.Identity:
        """Delete a private key for good."""
        identity = self._identities.find(name)
        if used := self._groups_of(identity):
            raise Conflict(
                f"{identity.peer_name} is the identity of {', '.join(used)}",
                code="identity-in-use",
                hint=f"peerd group delete {quote(used[0])}",
            )
        now = self._registry.environment.clock.moment()
        return self._render(self._identities.delete(identity.name, now.utc_ms))

    def _groups_of(self, identity: Identity) -> list[str]:
        return [
            entry.group_name for entry in self._registry.entries() if entry.identity == identity.peer_name
        ]

    def _render(self, identity: Identity) -> schema.Identity:
        return schema.Identity(
            peer_name=identity.peer_name,
            friendly_name=identity.friendly_name,
            public_key=write_base64url(identity.key.raw),
            created=time_at_ms(identity.created_ms),
            groups=self._groups_of(identity),
            deleted=identity.deleted_ms is not None,
        )
