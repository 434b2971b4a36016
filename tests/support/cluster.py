"""Whole daemons in one process: real stores, real TLS, real use cases, on memory streams and a clock of ours.

    async with cluster(tmp_path) as nodes:
        group = await grow(nodes, "alice", "bob", "carol")
        issued = await nodes["alice"].issue(group, "bob")

Nothing is left out but the process, its signals and the control socket (`peerd.daemon`). The test runs on a
mock clock that jumps over every wait, so time is exact and costs nothing: `calm()` returns when everything
has happened that can happen without time passing.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import apsw
import trio
from trio.testing import wait_all_tasks_blocked

from peerd.clock import Clock, clock_from
from peerd.control import schema
from peerd.errors import NotFound, NotReady
from peerd.gossip.checking import on_threads
from peerd.gossip.listening import Reception
from peerd.gossip.offload import inline
from peerd.groups.environment import Environment
from peerd.groups.open_group import OpenGroup
from peerd.groups.registry import Registry
from peerd.groups.service import Service
from peerd.identities import Identities
from peerd.paths import Home
from peerd.root_keys import RootKeys
from peerd.store.daemon_store import DaemonStore
from peerd.transport.dialer import Secure, dial
from peerd.transport.listener import Listener
from peerd.transport.network import Network
from peerd.transport.secure import secure_caller
from protocol.authority.grants import Grant
from tests.peerd.transport.memory_network import MemoryNetwork, plain
from tests.support.builders import NOW
from tests.support.keys import named, peer_name

PORT = 3587
POLL_S = 0.05
SOON_S = 5.0  # of virtual time: several retries of anything that is retried


class Node:
    """One daemon. It can be stopped, killed and started again, with the same home at the same address."""

    def __init__(
        self, name: str, directory: Path, host: str, network: Network, clock: Clock, secure: Secure | None
    ) -> None:
        """Nothing runs yet. `secure` takes the place of TLS at both ends."""
        self.name = name
        self.host = host
        self.address = f"{host}:{PORT}"
        self.home = Home(directory / name)
        self.peer_name = str(peer_name(name))
        self.rings = 0
        self.network = network
        self.clock = clock
        self._secure = secure
        self._entropy = random.Random(name)
        self._scope: trio.CancelScope | None = None

    # --- the process ----------------------------------------------------------------------------------------

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the daemon until `stop` or `kill`."""
        self.home.make()
        catalogue = DaemonStore(self.home.daemon_database)
        self.identities = Identities(self.home.identities)
        calling = partial(dial, network=self.network, secure=self._secure or secure_caller)
        environment = Environment(self.clock, inline, on_threads(inline), calling, self._entropy.randbytes)
        self.registry = Registry(
            self.home, catalogue, self.identities, RootKeys(self.home.root_keys), environment, self._ring
        )
        self.service = Service(self.registry, self.home)
        self.listener = Listener(network=self.network, secure=self._secure)
        try:
            await self.registry.open_all()
            environment.listens = await self.listener.bind([self.address])
            reception = Reception(
                self.registry.nodes, clock=self.clock, offload=inline, draw=environment.draw
            )
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.registry.serve)
                    await nursery.start(self.listener.serve, reception.receive)
                    task_status.started()
        finally:
            self._scope = None
            self.registry.close()
            catalogue.close()

    def _ring(self) -> None:
        self.rings += 1

    async def stop(self) -> None:
        """End as SIGTERM ends a daemon."""
        await self.registry.stop()
        self.kill()
        await calm()

    def kill(self) -> None:
        """End at once, without a word."""
        assert self._scope is not None
        self._scope.cancel()

    @property
    def runs(self) -> bool:
        return self._scope is not None

    # --- what it is asked -----------------------------------------------------------------------------------

    def identify(self) -> str:
        """Make the identity that has this node's name, and return its document."""
        names = [identity.peer_name for identity in self.identities.all()]
        if self.peer_name not in names:
            now_ms = self.clock.moment().utc_ms
            self.identities.create(self.name, "", now_ms, key=named(self.name))
        return self.service.identity_document(self.peer_name).document

    async def found(self, classifier: str = "family", **wish: object) -> str:
        """Create a group; returns its name."""
        self.identify()
        recovery = self.service.make_recovery_key()
        created = schema.GroupCreate(
            classifier=classifier,
            recovery_token=recovery.recovery_token,
            recovery_delivered=True,
            **wish,  # type: ignore[arg-type]
        )
        return (await self.service.create_group(created)).group

    async def issue(self, group: str, subject: Node | str, **wish: object) -> schema.CredentialIssued:
        """Issue one credential, stored unless `wish` says otherwise; a `Node` comes with its document."""
        if isinstance(subject, Node):
            wish = {"document": subject.identify()} | wish
        else:
            wish = {"subject": subject} | wish
        wished = schema.CredentialIssue(**({"store": "invitation" not in wish} | wish))  # type: ignore[arg-type]
        (issued,) = await self.service.issue(group, [wished])
        return issued

    async def issue_all(
        self, group: str, wishes: Sequence[dict[str, object]]
    ) -> Sequence[schema.CredentialIssued]:
        """Issue a batch; each wish holds fields of `CredentialIssue`."""
        return await self.service.issue(group, [schema.CredentialIssue(**wish) for wish in wishes])  # type: ignore[arg-type]

    async def renew_by_hand(self, group: str) -> None:
        """Let no daemon renew credentials by itself; for the creator of a group."""
        await self.service.change_properties(group, schema.PropertiesChange(renew_auto=False))

    async def renew(self, group: str, subject: Node, **wish: object) -> str:
        """Issue to a known subject by name alone; returns the grant id."""
        return (await self.issue(group, subject.peer_name, **wish)).credential.grant_id

    async def join(self, group: str, *members: Node, only: bool = False) -> schema.Group:
        """Ask these members for our credential in a group known by name."""
        self.identify()
        addresses = [member.address for member in members]
        return await self.service.join_group(schema.GroupJoin(group=group, addresses=addresses, only=only))

    async def accept(self, invitation: str, *members: Node) -> schema.Group:
        """Join with an invitation."""
        addresses = [member.address for member in members]
        return await self.service.join_group(schema.GroupJoin(invitation=invitation, addresses=addresses))

    async def connect(self, group: str, *nodes: Node, only: bool = False) -> schema.Group:
        """Dial these nodes."""
        addresses = [node.address for node in nodes]
        return await self.service.connect_group(group, schema.GroupConnect(addresses=addresses, only=only))

    # --- what it knows --------------------------------------------------------------------------------------

    def opened(self, group: str) -> OpenGroup | None:
        """The open group, if it is open here."""
        try:
            return self.registry.ready(group)
        except (NotFound, NotReady):
            return None

    def credential(self, group: str) -> Grant | None:
        """What this node goes by now."""
        opened = self.opened(group)
        return None if opened is None else opened.machine.members.own_grant(self.clock.moment().utc_s)

    def grant_id(self, group: str) -> str:
        """The id of that; empty for none."""
        grant = self.credential(group)
        return "" if grant is None else grant.act_id.hex()

    def links(self, group: str) -> dict[int, str]:
        """Its links: number and the name of the neighbor's key."""
        opened = self.opened(group)
        machine = None if opened is None else opened.machine
        return {} if machine is None else {link.id: link.key.authority for link in machine.links}

    def neighbors(self, group: str) -> list[str]:
        """The authorities of the neighbors, sorted."""
        return sorted(self.links(group).values())

    def digest(self, group: str) -> bytes:
        """The digest of its set of acts."""
        opened = self.opened(group)
        return b"" if opened is None else opened.machine.synchronize.summary().digest

    def on_disk(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of every database of its home, and every other file: what a refusal must not change."""
        rows = {}
        for path in sorted(self.home.directory.rglob("*")):
            if path.suffix == ".db":
                with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as database:
                    named = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
                    tables = [name for (name,) in named]
                    for table in tables:
                        if not table.startswith("sqlite_autoindex"):
                            query = f'SELECT * FROM "{table}"'
                            rows[f"{path.name}:{table}"] = database.execute(query).fetchall()
            elif path.is_file() and path.suffix in (".json", ".pem"):
                rows[path.name] = [(path.read_bytes(),)]
        return rows

    def events(self, since: str | None = None, limit: int = 256) -> Sequence[schema.Event]:
        """What it has told of so far."""
        log = self.service.events
        return log.after(log.start() if since is None else since, limit).events

    def kinds(self) -> list[str]:
        """The kinds of those events."""
        return [event.kind for event in self.events()]


class Cluster:
    """The nodes of one test, by name, and the network between them."""

    def __init__(
        self, directory: Path, nursery: trio.Nursery, secure: Secure | None, network: MemoryNetwork
    ) -> None:
        self.network = network
        self.clock = clock_from(NOW.utc_ms)
        self._directory = directory
        self._nursery = nursery
        self._secure = secure
        self._nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def all(self) -> list[Node]:
        """Every node, running or not."""
        return list(self._nodes.values())

    async def start(self, *names: str) -> list[Node]:
        """Start these nodes, new ones or such as were stopped."""
        for name in names:
            if name not in self._nodes:
                host = f"10.0.0.{len(self._nodes) + 1}"
                self._nodes[name] = Node(
                    name, self._directory, host, self.network.host(host), self.clock, self._secure
                )
            await self._nursery.start(self._nodes[name].serve)
        return [self._nodes[name] for name in names]

    async def unplug(self, node: Node) -> None:
        """Cut a node off."""
        await self.network.unplug(node.host)

    def plug(self, node: Node) -> None:
        """Let it on the network again."""
        self.network.plug(node.host)


@asynccontextmanager
async def cluster(
    directory: Path, *, tls: bool = True, network: MemoryNetwork | None = None
) -> AsyncIterator[Cluster]:
    """Daemons with homes below `directory`; TLS can be left out where it is not what is tested."""
    async with trio.open_nursery() as nursery:
        yield Cluster(directory, nursery, None if tls else plain, network or MemoryNetwork())
        nursery.cancel_scope.cancel()


async def calm() -> None:
    """Let everything happen that can happen without time passing."""
    await wait_all_tasks_blocked()


async def until(condition: Callable[[], object], within_s: float = SOON_S) -> float:
    """Wait until a condition holds; returns the virtual seconds that it took, and fails after `within_s`."""
    begun = trio.current_time()
    await calm()
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(POLL_S)
            await calm()
    return trio.current_time() - begun


async def grow(nodes: Cluster, creator: str, *others: str, line: bool = False) -> str:
    """A group with these members, all linked: in a full mesh of up to six, or in a line."""
    first, *rest = await nodes.start(creator, *others)
    group = await first.found()
    for node in rest:
        await first.issue(group, node)
    for before, node in zip((first, *rest), rest, strict=False):
        await node.join(group, before if line else first, only=line)
        await until(lambda node=node: node.grant_id(group))  # type: ignore[misc]
    if line:
        await lay_line(group, (first, *rest))
    else:
        await until(lambda: meshed(group, (first, *rest)), within_s=30)
    await until(lambda: agreed(group, (first, *rest)), within_s=30)
    return group


async def lay_line(group: str, line: Sequence[Node]) -> None:
    """Let each be linked with those beside it and with nobody else."""
    beside = {
        node.name: [*line[max(0, place - 1) : place], *line[place + 1 : place + 2]]
        for place, node in enumerate(line)
    }
    for node in line:
        await node.connect(group, *beside[node.name], only=True)
    await until(
        lambda: all(node.neighbors(group) == authorities(beside[node.name]) for node in line), within_s=30
    )


def authorities(nodes: Iterable[Node]) -> list[str]:
    """The authorities of their identities, sorted, as `Node.neighbors` gives them."""
    return sorted(named(node.name).public.authority for node in nodes)


def meshed(group: str, nodes: Sequence[Node]) -> bool:
    """Whether each has exactly one link with every other, and no more."""
    return all(
        node.neighbors(group) == authorities(other for other in nodes if other is not node) for node in nodes
    )


def agreed(group: str, nodes: Iterable[Node]) -> bool:
    """Whether all hold the same set."""
    digests = [node.digest(group) for node in nodes]
    return digests[0] != b"" and digests.count(digests[0]) == len(digests)
