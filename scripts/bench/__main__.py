"""`dev.py bench`: figures of this machine, this code, this run, each beside the bound that it cannot pass.

The bound is the raw Ed25519 rate, measured first. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peerd.control import schema
from peerd.demo.nodes import LocalNode
from peerd.store.group_store import GroupStore
from protocol.authority.bodies import PropertiesBody
from protocol.authority.founding import found_group
from protocol.authority.issuing import CredentialInfo, IssueRequest
from protocol.credentials.keys import PrivateKey
from protocol.credentials.names import name_of_key
from protocol.machines.events import Issue
from protocol.machines.group import GroupMachine
from protocol.peer_time import Moment
from scripts.bench import engine

BATCH = 256
NODES = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    what: str
    figure: str
    beside: str = ""


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--credentials", type=int, default=2048, help="how many are issued in a batch")
    arguments = parser.parse_args()
    sign, verify = raw_rates()
    show(
        "the bound",
        [
            Row("Ed25519 signatures made", f"{sign:,.0f} /s"),
            Row("Ed25519 signatures checked", f"{verify:,.0f} /s"),
        ],
    )
    show(
        "issuing (a GMC is two signatures: the act's and the certificate's)",
        issuing(arguments.credentials, sign),
    )
    show("daemons", daemons(sign))
    print("reconciliation, 10,000 elements, bytes of both directions without the elements")
    print(engine.table(engine.run(sizes=(10_000,), differences=(0, 1, 100))))


def show(title: str, rows: list[Row]) -> None:
    """Print a block."""
    print(title)
    for row in rows:
        print(f"  {row.what:<52}{row.figure:>16}   {row.beside}")
    print()


def rate(work: Callable[[], object], times: int) -> float:
    """How often a second."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - begun)


def raw_rates() -> tuple[float, float]:
    """Signatures made and checked per second on one core, by the library alone."""
    key = PrivateKey.from_seed(bytes(32))
    message = bytes(600)
    signature, public = key.crypto.sign(message), key.public.crypto
    return rate(lambda: key.crypto.sign(message), 20_000), rate(
        lambda: public.verify(signature, message), 10_000
    )


# --- issuing ------------------------------------------------------------------------------------------------


def issuing(credentials: int, sign: float) -> list[Row]:
    """The machine on a real store in this process, and a real daemon through its socket."""
    rows = []
    with home() as directory:
        machine, store = founded(directory / "group.db")
        for batch, what in ((1, "one by one"), (BATCH, f"in batches of {BATCH}")):
            count = credentials if batch > 1 else 200
            requests = [request(number) for number in range(count)]
            begun = time.perf_counter()
            for first in range(0, count, batch):
                store.begin()
                machine.handle(Issue(tuple(requests[first : first + batch])), now(), store)
                store.commit()
            per_second = count / (time.perf_counter() - begun)
            share = f"{2 * per_second / sign:.0%} of the bound in signatures"
            rows.append(Row(f"machine and store, {what}, durable", f"{per_second:,.0f} GMC/s", share))
        store.close()
    return rows + issuing_through_the_socket(sign)


def issuing_through_the_socket(sign: float) -> list[Row]:
    """A daemon's client, waiting for each answer."""
    with nodes(1) as (node,), node.client() as client:
        node.identify("alice")
        group = node.create_group("bench")
        documents = [identity_document(number) for number in range(BATCH + 100)]
        wishes = [schema.CredentialIssue(document=document, store=True) for document in documents]
        begun = time.perf_counter()
        for wish in wishes[:100]:
            client.issue(group, wish)
        single = 100 / (time.perf_counter() - begun)
        begun = time.perf_counter()
        client.issue_batch(group, schema.CredentialBatch(issues=wishes[100:]))
        batch = BATCH / (time.perf_counter() - begun)
    return [
        Row("daemon, one by one, strangers by document", f"{single:,.0f} GMC/s", f"{2 * single / sign:.0%}"),
        Row(
            f"daemon, {BATCH} in one call, strangers by document",
            f"{batch:,.0f} GMC/s",
            f"{2 * batch / sign:.0%}",
        ),
    ]


def now() -> Moment:
    """This moment."""
    return Moment(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


def founded(path: Path) -> tuple[GroupMachine, GroupStore]:
    """A new group on a real store."""
    own = PrivateKey.from_seed(b"o" * 32)
    founding = found_group(
        grc=PrivateKey.from_seed(b"g" * 32),
        creator=own.public,
        creator_name=name_of_key(own.public, "creator"),
        creator_friendly_name="",
        classifier="bench",
        properties=PropertiesBody(),
        recovery=[PrivateKey.from_seed(b"r" * 32).public],
        nonce=random.Random(0).randbytes(32),  # noqa: S311
        now=now(),
    )
    store = GroupStore(path)
    store.begin()
    for element in founding.elements:
        store.put(element.id, element.raw)
    store.commit()
    machine = GroupMachine(founding.root.gid, own, node_id=bytes(16), rng=random.Random(0))  # noqa: S311
    machine.load(now(), store)
    return machine, store


def request(number: int) -> IssueRequest:
    """A stranger's credential."""
    key = PrivateKey.from_seed(number.to_bytes(32, "big")).public
    return IssueRequest(name_of_key(key, "member"), key, CredentialInfo(), store=True)


def identity_document(number: int) -> str:
    """A stranger's identity document."""
    from protocol.credentials.certificates import build_idc
    from protocol.credentials.documents import write_identity_document
    from protocol.peer_time import Window

    key = PrivateKey.from_seed(number.to_bytes(32, "little"))
    name = str(name_of_key(key.public, "member"))
    return write_identity_document(build_idc(key, name, Window(1_700_000_000, 253_402_300_799)))


# --- daemons ------------------------------------------------------------------------------------------------


def daemons(sign: float) -> list[Row]:
    """Real processes: start, answers, memory, and how long a stored credential takes to its subject."""
    with nodes(1) as (node,):
        node.identify("alice")
        node.create_group("bench")
        starts = []
        for _ in range(5):
            node.stop()
            starts.append(node.start() * 1000)
        memory = node.resident_bytes() / 2**20
        command = [sys.executable, "-m", "peerd", "--home", str(node.home), "status"]
        answers = [timed(lambda: subprocess.run(command, capture_output=True, check=True)) for _ in range(10)]
    return [
        Row(
            "daemon ready, with one group, median of 5",
            f"{statistics.median(starts):,.0f} ms",
            f"best {min(starts):,.0f} ms",
        ),
        Row(
            "command line answer (status), median of 10",
            f"{statistics.median(answers):,.0f} ms",
            f"best {min(answers):,.0f} ms",
        ),
        Row("memory of an idle node (RSS)", f"{memory:,.0f} MiB"),
        *pickups(),
    ]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def pickups() -> list[Row]:
    """From the call that issues to the subject's notice that it goes by the credential."""
    with nodes(NODES) as group_nodes:
        creator, *others = group_nodes
        group, names = join_all(creator, others)
        times = []
        for node in [*others] * 10:
            begun = time.monotonic()
            issued = creator.issue(group, subject=names[node.name], store=True)
            times.append((node.adopted_at(issued.credential.grant_id) - begun) * 1000)
    times.sort()
    return [
        Row(
            f"stored renewal in use, {NODES} nodes in full mesh, median of {len(times)}",
            f"{statistics.median(times):,.0f} ms",
        ),
        Row("the same, slowest", f"{times[-1]:,.0f} ms"),
    ]


def join_all(creator: LocalNode, others: list[LocalNode]) -> tuple[str, dict[str, str]]:
    """A group with everybody in it, in full mesh."""
    creator.identify(creator.name)
    group = creator.create_group("bench")
    names = {}
    for node in others:
        names[node.name], document = node.identify(node.name)
        creator.issue(group, document=document, store=True)
        node.join(group=group, addresses=[creator.address])
        node.wait_group(group, lambda seen: seen.state == "open")
    for node in (creator, *others):
        node.wait_group(group, lambda seen: len(seen.neighbors) == len(others))
    return group, names


@contextmanager
def home() -> Iterator[Path]:
    """A directory that goes away."""
    directory = Path(tempfile.mkdtemp(prefix="peerd-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def nodes(count: int) -> Iterator[list[LocalNode]]:
    """Running daemons."""
    with home() as directory:
        started = [LocalNode(directory / f"node{number}") for number in range(count)]
        try:
            for node in started:
                node.launch()
            for node in started:
                node.wait_ready()
            yield started
        finally:
            for node in started:
                node.stop()


if __name__ == "__main__":
    main()
