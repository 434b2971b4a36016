#!/usr/bin/env python3
"""Run simulated groups by seed, and print what came of them; a seed that failed can be looked at again.

python -m scripts.simulate --seeds 0-99 --nodes 12 --faults all
python -m scripts.simulate --seeds 17 --nodes 12 --faults all --trace run.txt --mermaid run.mmd
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from protocol.sim.scenario import FAULTS, TOPOLOGIES, Report, Scenario, SimulationFailed, simulate
from protocol.sim.world import World

_COLUMNS = (
    ("seed", "seed"),
    ("acts", "acts"),
    ("hops", "hops_median"),
    ("hops max", "hops_max"),
    ("delivery ms", "delivery_ms_median"),
    ("delivery ms max", "delivery_ms_max"),
    ("redundancy", "redundancy"),
    ("bytes/act", "bytes_per_act"),
    ("agreed ms", "agreed_ms"),
    ("events", "events"),
)


def main(arguments: Sequence[str]) -> int:
    """Run every seed; 1 if one failed."""
    options = _parser().parse_args(arguments)
    scenario = Scenario(
        nodes=options.nodes,
        topology=options.topology,
        seconds=options.seconds,
        acts=options.acts,
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
        _write(options, worlds[0])
    return 1 if failed else 0


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
    parser.add_argument("--nodes", type=int, default=default.nodes)
    parser.add_argument("--topology", choices=TOPOLOGIES, default=default.topology)
    parser.add_argument("--seconds", type=int, default=default.seconds, help="of acts and faults")
    parser.add_argument("--acts", type=int, default=default.acts, help="how often somebody issues")
    parser.add_argument("--faults", type=_names, default=[], help=f"all, or some of {','.join(FAULTS)}")
    parser.add_argument("--withholders", type=int, default=0, help="members that pass nothing on")
    parser.add_argument("--babblers", type=int, default=0, help="members that send garbage")
    parser.add_argument("--trace", type=Path, help="write one line per event here")
    parser.add_argument("--mermaid", type=Path, help="write the last events as a sequence diagram here")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
