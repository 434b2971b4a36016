"""What many threads do at the same moment, in a process of its own, since it may end that process."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys, threading
from typing import Annotated
import msgspec
from msgspec import Meta
{imports}

sys.setswitchinterval(1e-6)
for _ in range(200):
    Short = Annotated[{text}, Meta(max_length=9)]
    inner = msgspec.defstruct("Inner", [("a", Short), ("b", Annotated[list[Short], Meta(max_length=9)])])
    outer = msgspec.defstruct("Outer", [("c", list[inner]), ("d", inner)])
    {prepare}
    together = threading.Barrier(4)

    def use():
        together.wait()
        assert {outcome}.d.a == {text}({value})

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def first_use_ends_well(imports: str, text: str, value: str, outcome: str, prepare: str = "pass") -> bool:
    """Whether threads that are the first to use a msgspec type all get it whole, for 200 types `outer`.

    `text` is the type of its fields, `value` what `d.a` must be; `outcome` is the expression that uses it.
    """
    program = _PROGRAM.format(imports=imports, text=text, value=value, outcome=outcome, prepare=prepare)
    return subprocess.run([sys.executable, "-c", program]).returncode == 0
