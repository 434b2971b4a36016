"""Claims: what a check says when something that must hold does not."""

from __future__ import annotations


class CheckFailed(AssertionError):
    """Something that must hold does not."""


def require(holds: bool, check: str, detail: str) -> None:
    """Raises: CheckFailed, with the check's name."""
    if not holds:
        raise CheckFailed(f"{check}: {detail}")
