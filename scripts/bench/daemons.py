"""Real daemons on this machine: starts, answers, memory, issuing through the socket, and pickup.

Everything crosses processes, sockets and the disk, and this process waits for it; so the figures are wall
time. Beside them stands the processor time of the daemons, in which a busy machine shows less. The programs
run with their bytecode at hand, as they do once installed.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from peerd.clock import steady_s
from peerd.control import schema
from peerd.demo.nodes import LocalNode
from protocol.credentials.certificates import build_idc
from protocol.credentials.documents import write_identity_document
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_key
from protocol.limits import END_OF_TIME_S
from protocol.peer_time import Window
from scripts.bench.figures import Row, median_and_slowest, per_second
from scripts.bench.machine import BATCH

NODES = 5
LOADED_STARTS = 3  # of a node with many members, which takes a second or two
READY_MS_TARGET = 400
ANSWER_MS_TARGET = 150
MEMORY_MIB_TARGET = 60
PICKUP_MS_TARGET = 100
_ANSWERED = (0, 8)  # 8: degraded, for example without neighbors
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_COMPILED = "PYTHONPYCACHEPREFIX"
_NOT_COMPILED = "PYTHONDONTWRITEBYTECODE"


@contextmanager
def nodes(count: int) -> Iterator[list[LocalNode]]:
    """Running daemons, each in a home that goes away."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peerd-bench-")))
        started = [LocalNode(directory / f"node{number}") for number in range(count)]
        for node in started:
            stack.callback(node.stop)
            node.launch()
        for node in started:
            node.wait_ready()
        yield started


@contextmanager
def compiled() -> Iterator[None]:
    """Let the programs started inside keep their bytecode, whatever the environment says."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="peerd-bench-") as directory:
        os.environ.pop(_NOT_COMPILED, None)
        os.environ.setdefault(_COMPILED, directory)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def processor_s(node: LocalNode) -> float:
    """What a daemon has used of the processor since its start, all threads and the processes that check
    signatures for it, in steps of 10 ms.
    """
    at_work = [
        int(pid)
        for children in Path(f"/proc/{node.pid}/task").glob("*/children")
        for pid in children.read_text().split()
    ]
    return _processor_s(node.pid, with_ended=True) + sum(_processor_s(pid) for pid in at_work)


def _processor_s(pid: int, *, with_ended: bool = False) -> float:
    """The same of one process, and of those that it had and that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICKS_PER_S


def identity_document(number: int) -> str:
    """A stranger's identity document."""
    key = PrivateKey.from_seed(number.to_bytes(32, "little"))
    name = str(name_of_key(key.public, "member"))
    return write_identity_document(build_idc(key, name, Window(1_700_000_000, END_OF_TIME_S)))


# --- one node -----------------------------------------------------------------------------------------------


def one_node(*, starts: int, answers: int, single: int, members: int) -> list[Row]:
    """What one daemon takes: alone with one group, and with so many members in it."""
    with nodes(1) as (node,):
        node.identify("alice")
        group = node.create_group("bench")
        table = [
            _ready(node, starts, "one group", f"; target {READY_MS_TARGET} ms"),
            answers_of(node, answers),
        ]
        table.append(_memory(node, "idle, one group", f"target {MEMORY_MIB_TARGET} MiB"))
        table += _through_the_socket(node, group, single, members)
        table.append(_ready(node, min(starts, LOADED_STARTS), f"{members:,} members"))
        table.append(_memory(node, f"idle, {members:,} members"))
    return table


def _ready(node: LocalNode, times: int, what: str, beside: str = "") -> Row:
    waits_ms, works_ms = [], []
    for _ in range(times):
        node.stop()
        waits_ms.append(node.start() * 1000)
        works_ms.append(processor_s(node) * 1000)
    return Row(
        f"daemon ready, {what}, median / slowest of {times}",
        median_and_slowest(waits_ms),
        f"{statistics.median(works_ms):,.0f} ms of processor time{beside}",
    )


def answers_of(node: LocalNode, times: int) -> Row:
    """How soon the command line has the node's status."""
    command = [sys.executable, "-m", "peerd", "--home", str(node.home), "status"]
    waits_ms, works_ms = [], []
    for _ in range(times):
        begun, worked = steady_s(), _children_s()
        answer = subprocess.run(command, capture_output=True, check=False)
        assert answer.returncode in _ANSWERED, answer.stderr
        waits_ms.append((steady_s() - begun) * 1000)
        works_ms.append((_children_s() - worked) * 1000)
    return Row(
        f"command line answer (status), median / slowest of {times}",
        median_and_slowest(waits_ms),
        f"{statistics.median(works_ms):,.0f} ms of processor time; target {ANSWER_MS_TARGET} ms",
    )


def _children_s() -> float:
    """Processor time of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(node: LocalNode, what: str, beside: str = "") -> Row:
    return Row(f"memory of a node (RSS), {what}", f"{node.resident_bytes() / 2**20:,.0f} MiB", beside)


def _through_the_socket(node: LocalNode, group: str, single: int, members: int) -> list[Row]:
    """Issue to strangers by their documents, first one by one, then in batches, waiting for each answer."""
    documents = [identity_document(number) for number in range(members)]
    wishes = [schema.CredentialIssue(document=document, store=True) for document in documents]
    with node.client() as client:
        before, begun = processor_s(node), steady_s()
        for wish in wishes[:single]:
            client.issue(group, wish)
        table = [_issued("daemon, one by one", single, steady_s() - begun, processor_s(node) - before)]
        before, begun = processor_s(node), steady_s()
        for first in range(single, members, BATCH):
            client.issue_batch(group, schema.CredentialBatch(issues=wishes[first : first + BATCH]))
        batched = members - single
        table.append(
            _issued(f"daemon, {BATCH} in one call", batched, steady_s() - begun, processor_s(node) - before)
        )
    return table


def _issued(what: str, count: int, wall_s: float, work_s: float) -> Row:
    return Row(
        f"{what}, strangers by document",
        f"{per_second(count, wall_s):,.0f} /s",
        f"{work_s / count * 1000:,.2f} ms of the daemon's processor time for one",
    )


# --- five nodes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Members:
    """Nodes that are all members of one group, the first of which issues."""

    nodes: Sequence[LocalNode]
    group: str
    names: Mapping[LocalNode, str]

    def shape(self, neighbors: Mapping[LocalNode, Sequence[LocalNode]]) -> None:
        """Link these, and nobody else, and wait until all of them hold the same."""
        for node in self.nodes:
            node.ask(lambda client: client.disconnect_group(self.group))
        for node, others in neighbors.items():
            node.connect(self.group, [other.address for other in others], only=True)
        for node, others in neighbors.items():
            names = {self.names[other] for other in others}
            node.wait_group(self.group, partial(_linked_to, names))


def _linked_to(names: set[str], group: schema.Group) -> bool:
    return group.synchronized and {neighbor.peer_name for neighbor in group.neighbors} == names


def join_all(running: Sequence[LocalNode]) -> Members:
    """A group of the first node's, with everybody in it."""
    creator, *others = running
    names = {creator: creator.identify(creator.name)[0]}
    group = creator.create_group("bench")
    for node in others:
        names[node], document = node.identify(node.name)
        creator.issue(group, document=document, store=True)
        node.join(group=group, addresses=[creator.address])
        node.wait_group(group, lambda seen: seen.state == "open")
    return Members(running, group, names)


def full_mesh(running: Sequence[LocalNode]) -> dict[LocalNode, list[LocalNode]]:
    """Everybody linked to everybody."""
    return {node: [other for other in running if other is not node] for node in running}


def line(running: Sequence[LocalNode]) -> dict[LocalNode, list[LocalNode]]:
    """Each linked to the one before and the one after; who issues stands at one end."""
    neighbors: dict[LocalNode, list[LocalNode]] = {node: [] for node in running}
    for one, other in pairwise(running):
        neighbors[one].append(other)
        neighbors[other].append(one)
    return neighbors


def pickups(*, count: int, rounds: int) -> list[Row]:
    """From the call that issues a stored renewal to the subject's notice that it goes by it."""
    with nodes(count) as running:
        members = join_all(running)
        table = []
        for name, shape in (("full mesh", full_mesh(running)), ("a line", line(running))):
            members.shape(shape)
            table += _renewals(members, name, rounds)
    return table


def _renewals(members: Members, shape: str, rounds: int) -> list[Row]:
    creator, *subjects = members.nodes
    waits_ms: dict[LocalNode, list[float]] = {node: [] for node in subjects}
    before = [processor_s(node) for node in members.nodes]
    for node in [*subjects] * rounds:
        begun = steady_s()
        issued = creator.issue(members.group, subject=members.names[node], store=True)
        waits_ms[node].append((node.adopted_at(issued.credential.grant_id) - begun) * 1000)
    used = [processor_s(node) - was for node, was in zip(members.nodes, before, strict=True)]
    every = [wait for waits in waits_ms.values() for wait in waits]
    work_ms = statistics.median(used) / len(every) * 1000
    return [
        Row(
            f"renewal in use, {len(members.nodes)} in {shape}, median / slowest of {len(every)}",
            median_and_slowest(every),
            f"{work_ms:,.1f} ms of a node's processor time for one; target {PICKUP_MS_TARGET} ms",
        ),
        Row(
            f"  at the last of them, median / slowest of {rounds}",
            median_and_slowest(waits_ms[subjects[-1]]),
        ),
    ]
