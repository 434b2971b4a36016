"""`dev.py bench`: figures of this machine, this code, this run, each beside the bound that it cannot pass.

Nothing here passes or fails. Figures are wall time where nothing else is said; on a machine that does other
things meanwhile, the processor time beside them is the one to compare.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from scripts.bench import authority, daemons, engine, machine, reconciling, records, replicating, search
from scripts.bench.figures import bound_rows, show

ACTS = 10_000
AUTHORITY_ACTS = 100_000
RECORDS = 100_000
RECEIVED = 40_000
WRITES = 200
WRITERS = 8
DIFFERENCES = (0, 1, 100)
SIZES = (10_000, 100_000, 1_000_000)
SAMPLES = 20


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--credentials", type=int, default=2560, help="how many are issued in batches")
    parser.add_argument("--members", type=int, default=10_000, help="how many the one daemon issues to")
    parser.add_argument("--records", type=int, default=RECORDS, help="how many a node catches up with")
    arguments = parser.parse_args()
    show("the bound: the library alone, one core, processor time", bound_rows(SAMPLES))
    with tempfile.TemporaryDirectory(prefix="peerd-bench-") as directory:
        show(
            "credentials in this process: two signatures each, every transaction durable",
            machine.rows(Path(directory), single=200, batched=arguments.credentials),
        )
        show(
            "records from one neighbor: one signature each, every transaction durable",
            records.rows(Path(directory), RECEIVED),
        )
        show(
            f"searching: the first {search.PAGE} of what a query finds among {RECORDS:,} records",
            search.rows(Path(directory), RECORDS),
        )
    show("authority: what the acts of a large group mean", authority.rows(AUTHORITY_ACTS))
    with daemons.compiled():
        show(
            "one daemon",
            daemons.one_node(starts=5, answers=10, single=100, members=arguments.members),
        )
        show(
            f"pickup on {daemons.NODES} daemons: from the call that issues to the subject's notice",
            daemons.pickups(count=daemons.NODES, rounds=10),
        )
        show("records on daemons: catching up", replicating.catching_up(arguments.records))
        show("  writing", replicating.writing(WRITES, WRITERS))
        with daemons.nodes(daemons.NODES) as running:
            show("  spreading", replicating.spreading(running, WRITES))
    print("reconciliation of real acts, each with its certificate; bytes of frames in both directions")
    print(reconciling.table(reconciling.run(ACTS, DIFFERENCES)))
    print("\nits engine alone, on ids, beside the figures that it was designed by (protocol-study 2.4)")
    print(engine.table(engine.run(sizes=SIZES)))


if __name__ == "__main__":
    main()
