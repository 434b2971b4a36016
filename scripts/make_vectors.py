"""Write all golden vectors anew: `python -m scripts.make_vectors`.

Every module of tests/vectors that is no test has a `write`. A difference that git shows afterwards is a
change of the protocol, and needs a reason in protocol/DECISIONS.md.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors"


def generators() -> list[str]:
    """The names of the modules that write vectors."""
    return sorted(file.stem for file in VECTORS.glob("*.py") if not file.stem.startswith(("test_", "_")))


def main() -> None:
    """Let each of them write its file."""
    sys.path.insert(0, str(ROOT))
    for name in generators():
        module = importlib.import_module(f"tests.vectors.{name}")
        module.write()
        print(module.PATH.relative_to(ROOT))


if __name__ == "__main__":
    main()
