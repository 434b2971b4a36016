"""Alice's group, and what its people type to admit one another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from peerd.control import schema
from tests.system.people import Person, people


@dataclass
class Circle:
    """Alice's group: bob is its second administrator, the others are who the cases need them to be.

    `documents` are files.
    """

    cast: dict[str, Person]
    group: str = ""
    documents: dict[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Person:
        try:
            return self.cast[name]
        except KeyError:
            raise AttributeError(name) from None

    def keep_document(self, name: str, document: str) -> None:
        """Put an identity document into a file, where commands find it."""
        file = self.cast[name].home.with_name(f"{name}.xml")
        file.write_text(document)
        self.documents[name] = str(file)

    def text_of(self, name: str) -> str:
        """An identity document."""
        return Path(self.documents[name]).read_text()

    def issue(self, by: str, *words: str) -> dict[str, Any]:
        """Issue and return the credential."""
        issued = self.cast[by].json("credential", "issue", "pizza", *words)
        assert isinstance(issued["credential"], dict)
        return issued["credential"]

    def admit(self, name: str, *words: str) -> dict[str, Any]:
        """Case (d) in short: a stored credential, and the subject that fetches it by the group's name."""
        credential = self.issue("alice", "--document", self.documents[name], "--store", *words)
        self.join(name, self.alice)
        return credential

    def join(self, name: str, at: Person) -> dict[str, Any]:
        """Join by name at somebody's address, and be up to date."""
        words = ("--group", self.group, "--address", at.address, "--wait", "--timeout", "30")
        joined = self.cast[name].json("group", "join", *words)
        self.cast[name].json("wait", "synchronized", "pizza")
        assert isinstance(joined, dict)
        return joined

    def seen_by(self, name: str) -> dict[str, Any]:
        """The group as one of them sees it."""
        seen = self.cast[name].json("group", "show", "pizza")
        assert isinstance(seen, dict)
        return seen

    def goes_by(self, name: str, credential: dict[str, Any]) -> None:
        """Wait until one of them goes by a credential."""
        self.cast[name].adopted_at(credential["grant_id"])
        used = self.seen_by(name)["credential"]
        assert used is not None
        assert used["grant_id"] == credential["grant_id"]

    def still_serves(self) -> None:
        """The daemons live, agree, made no mistake that they know of, and deliver a renewal."""
        renewed = self.alice.issue(self.group, subject="bob", store=True).credential
        self.bob.adopted_at(renewed.grant_id)
        for person in (self.alice, self.bob):
            assert "Traceback" not in person.log()

    def spread_to(self, name: str) -> None:
        """Wait until one of them holds what alice holds."""
        digest = self.seen_by("alice")["digest"]
        self.cast[name].wait_group(self.group, lambda seen: seen.digest == digest)


def same_links(before: schema.Group, after: schema.Group) -> bool:
    """Whether all links of before are there still, and are the same ones."""
    since = {one.node_id: one.since for one in after.neighbors}
    # The time is reckoned anew for each answer; a link made again would be half a second younger at least.
    return all(
        one.node_id in since and abs(since[one.node_id] - one.since) < timedelta(seconds=0.1)
        for one in before.neighbors
    )


@contextmanager
def circle_of(*others: str) -> Iterator[Circle]:
    """Alice and bob, and others who are not members yet; made over the socket: quicker than by hand."""
    with people("alice", "bob", *others) as cast:
        made = Circle({person.name: person for person in cast})
        for person in cast:
            _, document = person.identify(person.name)
            made.keep_document(person.name, document)
        made.group = made.alice.create_group("pizza")
        made.alice.issue(made.group, document=made.text_of("bob"), role="admin", store=True)
        made.bob.join(group=made.group, addresses=[made.alice.address])
        made.bob.wait_group(made.group, lambda seen: seen.synchronized)
        yield made
