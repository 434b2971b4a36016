#!/usr/bin/env python3
"""Check the rules of this house that no general tool knows: who may import whom, purity, sizes, tests.

Everything is read with `ast`; nothing is imported or run. A rule is a function from one source file to what
is wrong in it, or from the whole house to findings. Run it as `python -m scripts.tidy`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from scripts.house import contents, imports, set_order, tests
from scripts.house.source import Finding, Found, Source

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("peerd", "protocol", "scripts", "tests")

RULES: dict[str, Callable[[Source], Found]] = {
    "file-length": contents.file_length,
    "function-length": contents.function_length,
    "nothing-undone": contents.nothing_undone,
    "docstring": contents.docstrings,
    "empty-init": contents.empty_inits,
    "pure-call": contents.pure_calls,
    "one-clock": contents.one_clock,
    "broad-except": contents.narrow_excepts,
    "import-arrow": imports.arrows,
    "library-home": imports.library_homes,
    "pure-import": imports.pure_imports,
    "set-order": set_order.no_set_order,
    "no-sleep": tests.no_sleeping,
    "no-skip": tests.no_skipping,
}
HOUSE_RULES: dict[str, Callable[[Mapping[str, Source]], Iterator[Finding]]] = {
    "light-start": imports.light_start,
    "mirrored-test": tests.mirrored,
}


def findings(texts: Mapping[str, str]) -> list[Finding]:
    """Every breach in the given files (path from the root, with slashes -> text), in order of place."""
    found: set[Finding] = set()
    sources = {}
    for path, text in sorted(texts.items()):
        try:
            sources[path] = Source(path, text, ast.parse(text, path))
        except SyntaxError as error:
            found.add(Finding(path, error.lineno or 1, "syntax", error.msg))
    for rule in HOUSE_RULES.values():
        found.update(rule(sources))
    for source in sources.values():
        for name, file_rule in RULES.items():
            found.update(Finding(source.path, line, name, text) for line, text in file_rule(source))
    return sorted(found)


def read_house(root: Path) -> dict[str, str]:
    """The text of every Python file of the house, by its path from the root."""
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    return {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}


def main() -> int:
    """Print every finding; 1 if there is one."""
    found = findings(read_house(ROOT))
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
