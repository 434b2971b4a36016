"""Records on real daemons of this machine: catching up, writing, and spreading.

*Catching up*: one node holds so many records of 256 bytes, by four authors; another joins with nothing and
gets them over loopback TLS, while it is asked for its status again and again. Bytes are counted on the way,
both directions, TLS included. A third node is killed when it has about half, and goes on after its start:
what it fetched twice is what it cost more than the second did. *Writing*: through the control socket, each
write durable before its answer; beside it, how often this disk syncs a page. *Spreading*: from the call that
writes on one node to the notice on the last of the others.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from peerd.clock import calendar_ms, pause, steady_s
from peerd.control import record_schema, schema
from peerd.control.client import ClientError
from peerd.demo.nodes import LocalNode
from peerd.errors import PeerdError
from peerd.groups.base64url import write_base64url
from protocol.credentials.keys import PrivateKey
from protocol.records.export import ExportWriter, Kind
from scripts.bench.daemons import (
    MEMORY_MIB_TARGET,
    Members,
    answers_of,
    full_mesh,
    identity_document,
    join_all,
    processor_s,
)
from scripts.bench.figures import Bound, Row, per_second
from scripts.bench.records import BODY_BYTES, signed
from scripts.bench.watched import held_row, percentile

AUTHORS = 4
CATCH_UP_S_MAX = 1200
_SETTLED_MS = 40_000  # records dated before this are in the digests at once
_POLL_S = 0.2  # each question takes the node a few milliseconds
_CHUNK_BYTES = 256 * 1024
_GROUP = "bench"


@dataclass(slots=True)
class Relay:
    """Passes connections on to an address and counts their bytes."""

    target: tuple[str, int]
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Pass on meanwhile; the address to dial instead."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=self._accept, args=(server,), daemon=True).start()
            yield f"127.0.0.1:{server.getsockname()[1]}"

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError), socket.create_connection(self.target) as called:
            back = threading.Thread(target=self._pass, args=(called, caller), daemon=True)
            back.start()
            self._pass(caller, called)
            back.join()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):  # killed
            while data := one.recv(_CHUNK_BYTES):
                with self._lock:
                    self.bytes += len(data)
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


# --- catching up --------------------------------------------------------------------------------------------


@contextmanager
def _homes() -> Iterator[tuple[Path, ExitStack]]:
    with ExitStack() as stack:
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peerd-bench-"))), stack


def _node(directory: Path, name: str, stack: ExitStack) -> LocalNode:
    """A running daemon whose loop is watched; what was measured is in its home once it has ended."""
    told = directory / f"{name}.json"
    node = LocalNode(directory / name, program=("-m", "scripts.bench.watched", str(told)))
    stack.callback(node.stop)
    node.start()
    return node


def catching_up(records: int) -> list[Row]:
    """Fill one node, let two others catch up, look at one of them."""
    with _homes() as (directory, stack):
        source = _node(directory, "source", stack)
        source.identify("source")
        group = source.create_group(_GROUP)
        table = [_filled(source, group, records)]
        host, _, port = source.address.rpartition(":")
        relay = Relay((host, int(port)))
        address = stack.enter_context(relay.listening())
        newcomer = _node(directory, "newcomer", stack)
        table += _caught_up(source, newcomer, group, address, relay, records)
        whole = relay.bytes
        table += _loaded(newcomer, group)
        table += [_held(directory, one) for one in (newcomer, source)]
        source.start()
        newcomer.stop()
        table += _interrupted(
            source, _node(directory, "killed", stack), group, (address, relay), whole, records
        )
        return table


def _filled(node: LocalNode, group: str, records: int) -> Row:
    gid = node.group(group).gid
    assert gid is not None
    share = -(-records // AUTHORS)
    path = node.home / "records.export"
    writer = ExportWriter(bytes.fromhex(gid))
    with path.open("wb") as file:
        file.write(writer.begin())
        for number in range(AUTHORS):
            key = PrivateKey.from_seed(number.to_bytes(32, "little"))
            issued = node.issue(group, document=identity_document(number), store=True)
            cred, until_ms = bytes.fromhex(issued.credential.grant_id), calendar_ms() - _SETTLED_MS
            numbers = range(number * share, min((number + 1) * share, records))
            for item in signed(key, cred, bytes.fromhex(gid), numbers, until_ms):
                file.write(writer.item(Kind.RECORD, item.raw))
        file.write(writer.end())
    before, begun = processor_s(node), steady_s()
    with path.open("rb") as file, node.client() as client:
        told = client.import_group(group, iter(lambda: file.read(_CHUNK_BYTES), b""))
    wall_s, used_s = steady_s() - begun, processor_s(node) - before
    assert told.records == records, told
    return Row(
        f"database import of {records:,} records of {BODY_BYTES} bytes",
        f"{per_second(records, wall_s):,.0f} /s",
        f"{used_s / records * 1e6:,.0f} µs of processor time for one",
    )


@dataclass(slots=True)
class _Asking:
    """Somebody asks a node for its status until told to stop."""

    node: LocalNode
    waits_ms: list[float] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        thread = threading.Thread(target=self._ask, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.stopped.set()
            thread.join()

    def _ask(self) -> None:
        with self.node.client() as client:
            while not self.stopped.wait(_POLL_S):
                begun = steady_s()
                client.status()
                self.waits_ms.append((steady_s() - begun) * 1000)


def _join(source: LocalNode, node: LocalNode, group: str, address: str) -> None:
    _, document = node.identify(node.name)
    source.issue(group, document=document, store=True)
    node.join(group=group, addresses=[address])


def _wait(node: LocalNode, group: str, condition: Callable[[schema.Group], bool]) -> None:
    """Wait for a node without keeping it busy with questions."""
    until = steady_s() + CATCH_UP_S_MAX
    with node.client() as client:
        while not condition(client.group(group)):
            assert steady_s() < until, "it takes too long"
            pause(_POLL_S)


def _has(records: int, seen: schema.Group) -> bool:
    return seen.state == "open" and seen.records >= records


def _in_step(records: int, seen: schema.Group) -> bool:
    return _has(records, seen) and seen.synchronized


def _caught_up(
    source: LocalNode, node: LocalNode, group: str, address: str, relay: Relay, records: int
) -> list[Row]:
    bound, asking = Bound(), _Asking(node)
    for _ in range(20):
        bound.sample()
    before, begun = (processor_s(node), processor_s(source)), steady_s()
    with asking.going_on():
        _join(source, node, group, address)
        _wait(node, group, partial(_has, records))
        wall_s = steady_s() - begun
        used_s, given_s = processor_s(node) - before[0], processor_s(source) - before[1]
        _wait(node, group, partial(_in_step, records))
    in_step_s, rate = steady_s() - begun, per_second(records, wall_s)
    return [
        Row(
            f"an empty node catches up with {records:,}",
            f"{rate:,.0f} /s",
            f"{rate / bound.checked_per_s:.0%} of the {bound.checked_per_s:,.0f} that one core checks;"
            f" {wall_s:,.1f} s, synchronized after {in_step_s:,.1f} s",
        ),
        Row(
            "  processor time of one, there / here",
            f"{used_s / records * 1e6:,.0f} / {given_s / records * 1e6:,.0f} µs",
            f"{1e6 / bound.checked_per_s:,.0f} µs are the check;"
            f" both had {(used_s + given_s) / wall_s:.2f} cores",
        ),
        Row(
            "  on the wire, of one", f"{relay.bytes / records:,.0f} bytes", "TLS and both directions included"
        ),
        Row(
            f"  status meanwhile, median / p99 of {len(asking.waits_ms):,}",
            f"{statistics.median(asking.waits_ms):,.0f} / {percentile(asking.waits_ms, 0.99):,.0f} ms",
            f"longest {max(asking.waits_ms):,.0f} ms",
        ),
    ]


def _held(directory: Path, node: LocalNode) -> Row:
    """Stop a node, and read how long its loop was held."""
    node.stop()
    told = msgspec.json.decode((directory / f"{node.name}.json").read_bytes())
    return held_row(f"the loop of {node.name}", told)


def _loaded(node: LocalNode, group: str) -> list[Row]:
    """What a node is like that holds them all."""
    count = node.group(group).records
    after = node.resident_bytes()
    node.stop()
    ready_ms = node.start() * 1000
    started = processor_s(node) * 1000
    return [
        Row(
            f"memory (RSS) with {count:,} records, caught up / started",
            f"{after / 2**20:,.0f} / {node.resident_bytes() / 2**20:,.0f} MiB",
            f"idle target {MEMORY_MIB_TARGET} MiB",
        ),
        Row("  ready", f"{ready_ms:,.0f} ms", f"{started:,.0f} ms of processor time; target 1,000 ms"),
        answers_of(node, 10),
    ]


def _interrupted(
    source: LocalNode, node: LocalNode, group: str, way: tuple[str, Relay], whole: int, records: int
) -> list[Row]:
    address, relay = way
    before = relay.bytes
    _join(source, node, group, address)
    _wait(node, group, partial(_has, records // 2))
    node.kill()
    until_kill = relay.bytes - before
    begun = steady_s()
    node.start()
    kept = node.group(group).records
    _wait(node, group, partial(_has, records))
    again_s, more = steady_s() - begun, relay.bytes - before - whole
    return [
        Row(
            "killed at about half and started again",
            f"{again_s:,.1f} s",
            f"{kept:,} records were there; {until_kill / 2**20:,.1f} MiB had come",
        ),
        Row("  fetched twice", f"{max(0, more) / 2**10:,.0f} KiB", f"{max(0, more) / whole:.1%} of all"),
    ]


# --- writing ------------------------------------------------------------------------------------------------


def writing(single: int, writers: int) -> list[Row]:
    """Write through the socket, alone and together."""
    with _homes() as (directory, stack):
        node = _node(directory, "writer", stack)
        node.identify("writer")
        group = node.create_group(_GROUP)
        syncs = _syncs(directory, single)
        alone = _written(node, group, 1, single)
        together = _written(node, group, writers, single)
        return [
            Row("a page written and synced on this disk", f"{syncs:,.0f} /s"),
            _writing_row("local durable writes, one writer", alone, syncs),
            _writing_row(f"  {writers} writers at once", together, syncs),
        ]


def _writing_row(what: str, measured: tuple[float, float], syncs: float) -> Row:
    rate, used_ms = measured
    return Row(
        what, f"{rate:,.0f} /s", f"{rate / syncs:.0%} of syncs; {used_ms:,.2f} ms of processor time for one"
    )


def _syncs(directory: Path, count: int) -> float:
    page, path = os.urandom(4096), directory / "page"
    with path.open("wb", buffering=0) as file:
        begun = steady_s()
        for _ in range(count):
            file.write(page)
            os.fsync(file.fileno())
        return per_second(count, steady_s() - begun)


def _wish(rng: random.Random) -> record_schema.RecordAdd:
    return record_schema.RecordAdd(
        record_type="note",
        attributes={"title": "written by the bench", "weight": rng.randrange(1000)},
        data=write_base64url(rng.randbytes(BODY_BYTES)),
    )


def _written(node: LocalNode, group: str, writers: int, each: int) -> tuple[float, float]:
    """Writes a second, and milliseconds of the daemon's processor time for one."""

    def write(number: int) -> None:
        rng = random.Random(number)  # noqa: S311
        with node.client() as client:
            for _ in range(each):
                client.add_record(group, _wish(rng))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    before, begun = processor_s(node), steady_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s, count = steady_s() - begun, writers * each
    return per_second(count, wall_s), (processor_s(node) - before) / count * 1000


# --- spreading ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Notices:
    """When each node told of a record."""

    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    heard: threading.Condition = field(default_factory=threading.Condition)

    def follow(self, node: LocalNode) -> None:
        """Listen from now on."""
        opened = threading.Event()
        threading.Thread(target=self._listen, args=(node, opened.set), daemon=True).start()
        assert opened.wait(10)

    def _listen(self, node: LocalNode, opened: Callable[[], object]) -> None:
        try:
            with node.client() as client:
                for event in client.events(kinds="record-added", follow=True, on_open=opened):
                    with self.heard:
                        self.seen[node.name, event.facts.get("record_id", "")] = steady_s()
                        self.heard.notify_all()
        except (ClientError, PeerdError):
            return  # it was stopped

    def last(self, nodes: Sequence[LocalNode], record_id: str) -> float:
        """When the last of these nodes told of it."""
        keys = [(node.name, record_id) for node in nodes]
        with self.heard:
            assert self.heard.wait_for(lambda: all(key in self.seen for key in keys), 20)
            return max(self.seen[key] for key in keys)


def spreading(running: Sequence[LocalNode], rounds: int) -> list[Row]:
    """Write on one of some daemons, all linked, and wait until all the others show it; again and again."""
    members: Members = join_all(running)
    members.shape(full_mesh(running))
    writer, *others = running
    notices, waits_ms, rng = _Notices(), [], random.Random(0)  # noqa: S311
    for node in others:
        notices.follow(node)
    before = [processor_s(node) for node in running]
    with writer.client() as client:
        for _ in range(rounds):
            begun = steady_s()
            record_id = client.add_record(members.group, _wish(rng)).record_id
            waits_ms.append((notices.last(others, record_id) - begun) * 1000)
    used = [processor_s(node) - was for node, was in zip(running, before, strict=True)]
    return [
        Row(
            f"a record on all of {len(running)} in full mesh, median / p99 of {rounds}",
            f"{statistics.median(waits_ms):,.0f} / {percentile(waits_ms, 0.99):,.0f} ms",
            f"{statistics.median(used) / rounds * 1000:,.1f} ms of a node's processor time for one",
        )
    ]
