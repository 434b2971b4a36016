"""`peerd demo`: five real daemons tell, as it happens, how a credential reaches its subject."""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from peerd.clock import calendar_ms, pause, steady_s
from peerd.control import schema
from peerd.control.client import ClientError
from peerd.demo.nodes import LocalNode
from peerd.errors import PeerdError

NAMES = ("alice", "bob", "carol", "dave", "erin")
SHORT_LIFE_S = 5  # of the credential that ends while its subject is away
PICKUP_TARGET_MS = 100
RENEWED_LIFE_S = 6  # of those that are renewed by themselves, in their last two seconds
GENERATIONS = 2  # that somebody misses


@dataclass(slots=True)
class Story:
    """The nodes, the group, and what has happened so far; `guests` are nodes of one chapter. Milliseconds are
    of the steady clock.
    """

    nodes: list[LocalNode]
    tell: Callable[[str], None]
    group: str = ""
    second: str = ""
    paper: str = ""
    names: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    outcomes: list[tuple[str, str, float]] = field(default_factory=list)
    guests: list[LocalNode] = field(default_factory=list)
    begun: float = field(default_factory=steady_s)

    def node(self, name: str) -> LocalNode:
        """A node by its name."""
        return next(node for node in (*self.nodes, *self.guests) if node.name == name)

    def say(self, text: str) -> None:
        """One line of the story, with the seconds since it began."""
        self.tell(f"{steady_s() - self.begun:7.2f} s  {text}")

    def chapter(self, title: str) -> None:
        """A heading."""
        self.tell(f"\n{title}")

    def took(self, who: str, what: str, since: float, at: float) -> None:
        """Note how long a pickup took, and tell it."""
        milliseconds = (at - since) * 1000
        self.outcomes.append((who, what, milliseconds))
        self.say(f"{who}: {what}, in use after {milliseconds:.0f} ms")


def run(*, nodes: int, keep: bool, tell: Callable[[str], None]) -> int:
    """Tell the whole story with `nodes` daemons (at least 5); 0 when every credential arrived."""
    directory = Path(tempfile.mkdtemp(prefix="peerd-demo-"))
    names = [*NAMES, *(f"node{number}" for number in range(len(NAMES) + 1, nodes + 1))]
    story = Story([LocalNode(directory / name) for name in names], tell)
    files_stay = keep
    try:
        for chapter in CHAPTERS:
            chapter(story)
        _table(story)
        if keep:
            _say_how_to_go_on(story)
    except (ClientError, PeerdError) as error:
        tell(f"\nthe demo stopped: {error}")
        tell(f"the daemons' logs are in {directory}/*/daemon.log")
        files_stay = True
        return 1
    finally:  # whatever ended the story, Ctrl-C too: no daemon outlives it that nobody was told of
        for node in (*story.nodes, *story.guests):
            node.stop()
        if not files_stay:
            shutil.rmtree(directory)
    return 0


# --- chapters -----------------------------------------------------------------------------------------------


def start(story: Story) -> None:
    """Five daemons, each with a home, a key and a document of its own."""
    story.chapter("Nodes: every one is a daemon of its own, with its own directory and key")
    for node in story.nodes:
        node.launch()
    for node in story.nodes:
        node.wait_ready()
        story.names[node.name], story.documents[node.name] = node.identify(node.name)
        story.say(f"{node.name} listens on {node.address} as {story.names[node.name]}")


def found(story: Story) -> None:
    """The creator makes the group."""
    story.chapter("Group: its name follows from its root, so nobody can fake it")
    story.group = story.node("alice").create_group("pizza", "Pizza circle")
    story.say(f"alice created {story.group} and is its administrator")


def admit(story: Story) -> None:
    """Members are admitted in each way."""
    story.chapter("Members: admitted by name, by invitation, or by both")
    _admit_by_name(story, "bob", at="alice", role="admin")
    invited = story.node("alice").issue(story.group, document=story.documents["carol"], invitation=True)
    _join_invited(story, "carol", invited, "an invitation, nothing stored")
    invited = story.node("bob").issue(
        story.group, document=story.documents["dave"], store=True, invitation=True
    )
    _join_invited(story, "dave", invited, "stored by bob and invited")
    for node in story.nodes[len(NAMES) :]:
        _admit_by_name(story, node.name, at="alice", role="member")


def _admit_by_name(story: Story, name: str, *, at: str, role: str) -> None:
    """The credential is stored; the stranger knows only the group's name and an address."""
    issued = story.node("alice").issue(story.group, document=story.documents[name], role=role, store=True)
    story.say(f"alice stored a credential for {name}, who was never a member")
    node, since = story.node(name), steady_s()
    node.join(group=story.group, addresses=[story.node(at).address])
    at_s = node.adopted_at(issued.credential.grant_id)
    story.took(name, f"asked {at} by the group's name", since, at_s)
    _synchronized(story, name)


def _join_invited(story: Story, name: str, issued: schema.CredentialIssued, how: str) -> None:
    node, since = story.node(name), steady_s()
    node.join(invitation=issued.invitation)
    story.took(name, how, since, node.adopted_at(issued.credential.grant_id))
    _synchronized(story, name)


def _synchronized(story: Story, name: str) -> None:
    """Wait until a node holds what the creator holds, so that the next step starts from there."""
    node = story.node(name)
    node.wait_group(story.group, lambda group: group.digest == story.node("alice").group(story.group).digest)


def through_others(story: Story) -> None:
    """A credential stored on one node is in use on another that is not linked to the issuer."""
    story.chapter("Through others: erin has never been connected to alice, who issues")
    issued = story.node("alice").issue(
        story.group, document=story.documents["erin"], valid_s=SHORT_LIFE_S, store=True
    )
    bob, erin = story.node("bob"), story.node("erin")
    story.say(f"alice stored a credential for erin that holds for {SHORT_LIFE_S} s")
    since = steady_s()
    erin.join(group=story.group, addresses=[bob.address], only=True)
    story.took(
        "erin", "asked bob, is not linked to alice", since, erin.adopted_at(issued.credential.grant_id)
    )
    neighbors = [neighbor.peer_name for neighbor in erin.group(story.group).neighbors]
    assert story.names["alice"] not in neighbors, neighbors


def expired(story: Story) -> None:
    """A node whose credential ended while it was away comes back, with the issuer stopped."""
    story.chapter("Expired: erin is away when her credential ends, and alice is gone when erin returns")
    erin, alice = story.node("erin"), story.node("alice")
    ends = erin.group(story.group).credential
    assert ends is not None
    assert ends.not_after is not None
    erin.stop()
    story.say("erin is stopped")
    renewed = alice.issue(story.group, subject=story.names["erin"], valid_s=90 * 86_400, store=True)
    story.node("bob").wait_group(story.group, lambda group: group.digest == alice.group(story.group).digest)
    alice.stop()
    story.say("alice stored a renewal for erin and is stopped")
    left_s = ends.not_after.timestamp() + 1 - calendar_ms() / 1000
    if left_s > 0:
        story.say(f"waiting {left_s:.1f} s until erin's credential has ended")
        pause(left_s)
    erin.start()
    since = steady_s()
    story.took(
        "erin", "came back expired, issuer offline", since, erin.adopted_at(renewed.credential.grant_id)
    )
    alice.start()
    story.say("alice is back")


def while_down(story: Story) -> None:
    """A renewal for a node that is down waits for it in the group."""
    story.chapter("Away: a renewal waits for dave")
    dave, alice = story.node("dave"), story.node("alice")
    dave.stop()
    renewed = alice.issue(story.group, subject=story.names["dave"], store=True)
    story.say("alice stored a renewal for dave, who is stopped")
    dave.start()
    since = steady_s()
    story.took("dave", "renewed while he was away", since, dave.adopted_at(renewed.credential.grant_id))


def full_mesh(story: Story) -> None:
    """Everybody is linked to everybody; renewals arrive at once."""
    _shape(story, {node.name: [other for other in story.nodes if other is not node] for node in story.nodes})
    _renew_all(story, "full mesh")


def line(story: Story) -> None:
    """Each node is linked to the one before and the one after; renewals travel from hand to hand."""
    nodes = story.nodes
    neighbors: dict[str, list[LocalNode]] = {node.name: [] for node in nodes}
    for one, other in pairwise(nodes):
        neighbors[one.name].append(other)
        neighbors[other.name].append(one)
    _shape(story, neighbors)
    _renew_all(story, "line")


def _shape(story: Story, neighbors: dict[str, list[LocalNode]]) -> None:
    """Give the group this shape: who is linked to whom, and nobody else."""
    for name in neighbors:
        story.node(name).ask(lambda client: client.disconnect_group(story.group))
    for name, others in neighbors.items():
        story.node(name).connect(story.group, [other.address for other in others], only=True)
    for name, others in neighbors.items():
        names = {story.names[other.name] for other in others}
        story.node(name).wait_group(story.group, partial(_linked_to, names))


def _linked_to(names: set[str], group: schema.Group) -> bool:
    return group.synchronized and {neighbor.peer_name for neighbor in group.neighbors} == names


def _renew_all(story: Story, shape: str) -> None:
    story.chapter(f"Live, {shape} of {len(story.nodes)}: alice renews each of the others")
    for node in story.nodes[1:]:
        since = steady_s()
        issued = story.node("alice").issue(story.group, subject=story.names[node.name], store=True)
        at_s = node.adopted_at(issued.credential.grant_id)
        story.took(node.name, f"live, {shape}", since, at_s)


def removed(story: Story) -> None:
    """A member is removed: its links are closed on all others, and what it writes later counts nowhere."""
    story.chapter("Removed: alice revokes erin, and dave, who is offline and does not know yet")
    _shape(story, {node.name: [other for other in story.nodes if other is not node] for node in story.nodes})
    alice, dave, erin = (story.node(name) for name in ("alice", "dave", "erin"))
    others = [node for node in story.nodes if node is not erin]
    since = steady_s()
    alice.revoke(story.group, story.names["erin"])
    for node in others:
        node.wait_group(story.group, partial(_not_linked_to, story.names["erin"]))
    story.say(f"erin: revoked; after {(steady_s() - since) * 1000:.0f} ms no node has a link with her")
    dave.ask(lambda client: client.disconnect_group(story.group))
    alice.revoke(story.group, story.names["dave"])
    written = dave.write(story.group, "note", "written by dave, revoked, who has not heard of it")
    dave.connect(story.group, [alice.address], only=True)
    for name in ("dave", "erin"):
        issued = alice.issue(story.group, subject=story.names[name], role="member", store=True)
        story.node(name).connect(story.group, [alice.address])
        story.node(name).adopted_at(issued.credential.grant_id)
        _synchronized(story, name)
    here = [node.name for node in story.nodes if node is not dave and node.reads(story.group, written)]
    assert not here, here
    story.say("dave wrote a record meanwhile, and came back: it counts on no other node")
    story.say("alice has admitted both again")


def _not_linked_to(name: str, group: schema.Group) -> bool:
    return name not in {neighbor.peer_name for neighbor in group.neighbors}


def renewed(story: Story) -> None:
    """Credentials of seconds are renewed over several generations without anybody, one subject being away."""
    story.chapter(
        f"Renewal: carol and dave hold credentials of {RENEWED_LIFE_S} s, and nobody types anything"
    )
    alice, dave = story.node("alice"), story.node("dave")
    for name in ("carol", "dave"):
        issued = alice.issue(
            story.group, subject=story.names[name], valid_s=RENEWED_LIFE_S, replace=True, store=True
        )
        story.node(name).adopted_at(issued.credential.grant_id)
    dave.stop()
    begun = len(alice.credentials(story.group, story.names["dave"]))
    story.say("dave is stopped")
    while len(alice.credentials(story.group, story.names["dave"])) < begun + GENERATIONS:
        pause(0.05)
    dave.start()
    dave.wait_group(story.group, lambda group: group.credential is not None and bool(group.neighbors))
    for name in ("carol", "dave"):
        generations = len(alice.credentials(story.group, story.names[name]))
        story.say(f"{name} goes by a valid credential, of generation {generations}")
    for name in ("carol", "dave"):
        issued = alice.issue(story.group, subject=story.names[name], valid_s=90 * 86_400, store=True)
        story.node(name).adopted_at(issued.credential.grant_id)


def root_lost(story: Story) -> None:
    """The machine that holds a group's root is gone; an administrator makes another root."""
    story.chapter(
        "Root, lost: frank founds a second group, and then his machine is gone with all that is on it"
    )
    frank, mallory = (LocalNode(story.nodes[0].home.with_name(name)) for name in ("frank", "mallory"))
    story.guests += [frank, mallory]
    for guest in story.guests:
        guest.launch()
    for guest in story.guests:
        guest.wait_ready()
        story.names[guest.name], story.documents[guest.name] = guest.identify(guest.name)
    story.second, story.paper = frank.found_group("chess", "Chess circle")
    story.say("frank created a group; he printed its recovery key, and bob has the paper")
    _admit_to_second(story, frank, "bob", "admin")
    _admit_to_second(story, story.node("bob"), "mallory", "member")
    frank.stop()
    shutil.rmtree(frank.home)
    story.say(
        "frank's directory is deleted: the root key is lost, nobody can be admitted by the root any more"
    )
    since = steady_s()
    _, story.paper = story.node("bob").rotate_root(story.second, story.paper)
    story.say(f"bob typed the recovery key: his node holds a new root, {(steady_s() - since) * 1000:.0f} ms")
    _admit_to_second(story, story.node("bob"), "carol", "admin", as_root=True)
    story.say("bob's node, as the root, has admitted carol as an administrator")


def _admit_to_second(story: Story, by: LocalNode, name: str, role: str, **wish: object) -> None:
    issued = by.issue(story.second, document=story.documents[name], role=role, store=True, **wish)
    node = story.node(name)
    node.join(group=story.second, addresses=[by.address])
    node.adopted_at(issued.credential.grant_id)
    node.wait_group(story.second, lambda group: group.digest == by.group(story.second).digest)


def root_stolen(story: Story) -> None:
    """A thief of the root key lets himself in, and is thrown out with a second recovery key."""
    story.chapter("Root, stolen: mallory, who was removed, has a copy of the root key, and lets himself in")
    bob, carol, mallory = (story.node(name) for name in ("bob", "carol", "mallory"))
    group, thief = story.second, story.names["mallory"]
    bob.revoke(group, thief, reason="not trusted")
    for node in (bob, carol):
        node.wait_group(group, partial(_not_linked_to, thief))
    gid = bob.root(group).gid
    for file in (bob.home / "root").glob(f"{gid}*"):
        shutil.copy(file, mallory.home / "root")
    issued = mallory.issue(group, subject=thief, role="admin", store=True, as_root=True)
    mallory.connect(group, [bob.address, carol.address])
    for node in (bob, carol):
        node.wait_group(group, partial(_linked_and_level_with, mallory, thief))
    story.say("mallory signed himself a credential as the root: he is an administrator, and linked again")
    since = steady_s()
    done, _ = bob.rotate_root(group, story.paper, without=[issued.credential.grant_id])
    for node in (bob, carol):
        node.wait_group(group, partial(_not_linked_to, thief))
    story.say(
        f"bob made root {done.version} with the next recovery key, without what mallory signed;"
        f" after {(steady_s() - since) * 1000:.0f} ms no node has a link with him"
    )
    carol.wait_group(group, lambda seen: seen.digest == bob.group(group).digest)
    members = {member.peer_name for member in carol.ask(lambda client: list(client.all_members(group)))}
    assert story.names["carol"] in members
    assert thief not in members, members
    story.say("the key that he has is the root of nothing; everybody else is a member as before")


def _linked_and_level_with(node: LocalNode, name: str, group: schema.Group) -> bool:
    """Whether there is a link with a node, and all its acts have arrived."""
    linked = name in {neighbor.peer_name for neighbor in group.neighbors}
    return linked and group.digest == node.group(group.group).digest


CHAPTERS: Sequence[Callable[[Story], None]] = (
    start,
    found,
    admit,
    through_others,
    expired,
    while_down,
    full_mesh,
    line,
    removed,
    renewed,
    root_lost,
    root_stolen,
)


# --- the end ------------------------------------------------------------------------------------------------


def _table(story: Story) -> None:
    story.chapter("What happened: milliseconds until the subject's daemon used its credential")
    width = max(len(what) for _, what, _ in story.outcomes)
    for who, what, milliseconds in story.outcomes:
        story.tell(f"  {who:<8}{what:<{width}}  {milliseconds:7.0f} ms")
    story.tell("")
    for shape in ("full mesh", "line"):
        times = [milliseconds for _, what, milliseconds in story.outcomes if what == f"live, {shape}"]
        median = statistics.median(times)
        story.tell(
            f"  median, live, {shape} of {len(story.nodes)}: {median:.0f} ms (aim: {PICKUP_TARGET_MS} ms)"
        )


def _say_how_to_go_on(story: Story) -> None:
    story.chapter("The nodes go on. Try:")
    pids = " ".join(str(node.pid) for node in story.nodes)
    for node in story.nodes:
        node.forget()
    peerd, alice, bob = program(), story.nodes[0], story.nodes[1]
    for command in (
        f"{peerd} --home {alice.home} status",
        f"{peerd} --home {bob.home} member list pizza",
        f"{peerd} --home {alice.home} credential issue pizza bob --store",
        f"{peerd} --home {bob.home} events --follow",
    ):
        story.tell(f"  {command}")
    story.tell("To end it:")
    story.tell(f"  kill {pids}")
    story.tell(f"  rm -r {alice.home.parent}")


def program() -> str:
    """How this program is called from any directory; it need not be where the shell looks."""
    script = Path(sys.argv[0]).absolute()
    found = shutil.which("peerd")
    if found is not None and script.exists() and script.samefile(found):
        return "peerd"
    if os.access(script, os.X_OK):
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -m peerd"
