#!/usr/bin/env python3
"""Run simulated groups by seed, and print what came of them; a seed that failed can be looked at again.

python -m scripts.simulate --seeds 0-99 --nodes 12 --faults all
python -m scripts.simulate --seeds 17 --nodes 12 --faults all --trace run.txt --mermaid run.mmd
python -m scripts.simulate --figures                    what news cost in groups of 2 to 1,000 nodes
python -m scripts.simulate --figures --nodes 100 --seeds 3
python -m scripts.simulate --revocation --seeds 0-9     how soon a revocation is in force on 100 nodes
"""

from __future__ import annotations

import argparse
import gc
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from protocol.sim.figures import SIZES, Cost, Expected, Measured, measure
from protocol.sim.revoking import NODES, measure_revocation
from protocol.sim.scenario import FAULTS, TOPOLOGIES, Report, Scenario, SimulationFailed, simulate
from protocol.sim.world import World

LARGE_BYTES = 4_096
_COLUMNS = (
    ("seed", "seed"),
    ("made", "made"),
    ("refused", "refused"),
    ("hops", "hops_median"),
    ("hops max", "hops_max"),
    ("delivery ms", "delivery_ms_median"),
    ("delivery ms max", "delivery_ms_max"),
    ("redundancy", "redundancy"),
    ("bytes/item", "bytes_per_item"),
    ("agreed ms", "agreed_ms"),
    ("events", "events"),
)


def main(arguments: Sequence[str]) -> int:
    """Run every seed; 1 if one failed."""
    options = _parser().parse_args(arguments)
    gc.set_threshold(200_000, 50, 100)  # a large group is millions of objects, and hardly any in cycles
    if options.figures:
        return _print_figures(options)
    if options.revocation:
        return _print_revocation(options)
    scenario = Scenario(
        nodes=options.nodes or Scenario().nodes,
        topology=options.topology,
        seconds=options.seconds,
        acts=options.acts,
        records=options.records,
        faults=tuple(FAULTS) if options.faults == ["all"] else tuple(options.faults),
        withholders=options.withholders,
        babblers=options.babblers,
    )
    print("  ".join(title for title, _ in _COLUMNS) + "  trace")
    failed = 0
    for seed in options.seeds:
        worlds: list[World] = []
        try:
            print(_row(simulate(seed, scenario, keep=worlds.append)), flush=True)
        except SimulationFailed as error:
            failed += 1
            print(error, file=sys.stderr, flush=True)
            print(f"again: {_again(arguments, seed)} --trace run.txt", file=sys.stderr, flush=True)
        _write(options, worlds[0])
    return 1 if failed else 0


def _again(arguments: Sequence[str], seed: int) -> str:
    """The command that runs one seed of these once more."""
    parts = list(arguments)
    if "--seeds" in parts:
        at = parts.index("--seeds")
        del parts[at : at + 2]
    return shlex.join(["python", "-m", "scripts.simulate", *parts, "--seeds", str(seed)])


# --- figures ------------------------------------------------------------------------------------------------


def _print_figures(options: argparse.Namespace) -> int:
    """Measure a group of each size, beside what the design expects; 1 if one failed."""
    sizes = SIZES if options.nodes is None else (options.nodes,)
    print("each figure / what protocol-study 1.6 has for flooding = the ratio")
    print(f"{'nodes':>5} {'seed':>4}  {'news':<13}" + "".join(f"{title:>24}" for title in _FIGURES))
    failed = 0
    for nodes in sizes:
        for seed in options.seeds:
            try:
                measured = measure(nodes, seed)
            except SimulationFailed as error:
                failed += 1
                print(error, file=sys.stderr, flush=True)
                again = f"python -m scripts.simulate --figures --nodes {nodes} --seeds {seed}"
                print(f"again: {again}", file=sys.stderr, flush=True)
            else:
                _print_measured(measured)
    return 1 if failed else 0


_FIGURES = ("hops to the last", "ms to the last", "copies too many", "bytes per node")


def _print_measured(measured: Measured) -> None:
    expected = measured.expected
    for cost in measured.costs:
        cells = [
            _beside(cost.hops, None if expected is None else expected.hops),
            _beside(cost.last_ms, None if expected is None else expected.last_ms),
            _beside(cost.redundancy, None if expected is None else expected.redundancy),
            _beside(cost.node_bytes, _expected_bytes(cost, expected)),
        ]
        print(f"{measured.nodes:>5} {measured.seed:>4}  {cost.kind:<13}" + "".join(cells))
    print(
        f"{'':>12}links {measured.links:.1f} a node, {measured.links_min} at least; all held the same"
        f" {measured.joined_ms / 1000:.1f} s after they started,"
        f" {measured.healed_ms / 1000:.1f} s after a partition",
        flush=True,
    )


def _expected_bytes(cost: Cost, expected: Expected | None) -> float | None:
    """One piece of news, as often as the study has it come; a large body comes once."""
    if expected is None:
        return None
    return cost.item_bytes * (1 + expected.redundancy) if cost.item_bytes < LARGE_BYTES else cost.item_bytes


def _beside(figure: float, expected: float | None) -> str:
    if expected is None:
        return f"{figure:>24.1f}"
    ratio = f"{figure / expected:.2f}" if expected else "-"
    return f"{figure:>10.1f} /{expected:>6.1f} = {ratio:>4}"


# --- revocation ---------------------------------------------------------------------------------------------


def _print_revocation(options: argparse.Namespace) -> int:
    """Revoke members of a group of which a tenth pass nothing on, with every third frame late; 1 if a
    revocation was not in force in time.
    """
    print("nodes  seed  median ms  worst ms  apart  agreed ms")
    failed = 0
    for seed in options.seeds:
        try:
            spread = measure_revocation(seed, options.nodes or NODES)
        except SimulationFailed as error:
            failed += 1
            print(error, file=sys.stderr, flush=True)
        else:
            print(
                f"{spread.nodes:>5}  {seed:>4}  {spread.median_ms:>9}  {spread.worst_ms:>8}"
                f"  {spread.apart:>5}  {spread.agreed_ms:>9}",
                flush=True,
            )
    return 1 if failed else 0


# --- runs ---------------------------------------------------------------------------------------------------


def _row(report: Report) -> str:
    cells = [f"{getattr(report, name)!s:>{len(title)}}" for title, name in _COLUMNS]
    return "  ".join([*cells, report.trace[:16]])


def _write(options: argparse.Namespace, world: World) -> None:
    """Put the trace of a run where the caller wants it, that of the last seed in the end."""
    if options.trace is not None:
        options.trace.write_text("\n".join(map(str, world.trace.lines)) + "\n", encoding="utf-8")
    if options.mermaid is not None:
        options.mermaid.write_text(world.trace.mermaid() + "\n", encoding="utf-8")


def _seeds(text: str) -> range:
    """One seed, or the first and the last of a row of them."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in FAULTS and names != ["all"]]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {unknown[0]}; there are {', '.join(FAULTS)}, all")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Scenario()
    parser.add_argument("--seeds", type=_seeds, default=_seeds("0"), help="one, or FIRST-LAST")
    parser.add_argument("--nodes", type=int, help=f"{default.nodes} unless given")
    parser.add_argument("--figures", action="store_true", help="follow news, and print what they cost")
    parser.add_argument("--revocation", action="store_true", help="revoke members, and time it")
    parser.add_argument("--topology", choices=TOPOLOGIES, default=default.topology)
    parser.add_argument("--seconds", type=int, default=default.seconds, help="of acts and faults")
    parser.add_argument("--acts", type=int, default=default.acts, help="how often somebody issues")
    parser.add_argument("--records", type=int, default=default.records, help="how often somebody writes")
    parser.add_argument("--faults", type=_names, default=[], help=f"all, or some of {','.join(FAULTS)}")
    parser.add_argument("--withholders", type=int, default=0, help="members that pass nothing on")
    parser.add_argument("--babblers", type=int, default=0, help="members that send garbage")
    parser.add_argument("--trace", type=Path, help="write one line per event here")
    parser.add_argument("--mermaid", type=Path, help="write the last events as a sequence diagram here")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
