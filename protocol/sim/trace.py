"""Trace: what happened in a run, one line each, and a hash by which two runs are compared.

The hash covers every line and the bytes of every frame. The last lines are kept for whoever reads why a run
failed; as a Mermaid sequence diagram they can be looked at.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass

LINES_KEPT = 20_000  # arbitrary: some minutes of a small group, about 3 MB


@dataclass(frozen=True, slots=True)
class Line:
    """One event: when, at which node, what; `sender` is the node that a message came from."""

    ms: int
    node: str
    text: str
    sender: str | None = None

    def __str__(self) -> str:
        """The line as people read it."""
        source = "" if self.sender is None else f"<- {self.sender} "
        return f"{self.ms / 1000:>10.3f} {self.node:<5} {source}{self.text}"


class Trace:
    """The lines of one run."""

    def __init__(self) -> None:
        """Begin empty."""
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)
        self._hash = hashlib.sha256()

    def note(self, ms: int, node: str, text: str, *, sender: str | None = None, payload: bytes = b"") -> None:
        """Add a line; `payload` are the bytes of the frame that it tells of."""
        line = Line(ms, node, text, sender)
        self.lines.append(line)
        self._hash.update(f"{line}\n".encode() + payload)

    def digest(self) -> str:
        """64 hex digits, equal for equal runs."""
        return self._hash.hexdigest()

    def tail(self, count: int) -> str:
        """The last lines, oldest first."""
        return "\n".join(str(line) for line in list(self.lines)[-count:])

    def mermaid(self, count: int = 200) -> str:
        """The last lines as a sequence diagram."""
        lines = list(self.lines)[-count:]
        names = dict.fromkeys(name for line in lines for name in (line.sender, line.node) if name is not None)
        drawn = ["sequenceDiagram", *(f"    participant {name}" for name in names)]
        for line in lines:
            text = f"{line.ms / 1000:.3f} {line.text}".replace(";", ",").replace(":", "·")
            if line.sender is None:
                drawn.append(f"    Note over {line.node}: {text}")
            else:
                drawn.append(f"    {line.sender}->>{line.node}: {text}")
        return "\n".join(drawn)
