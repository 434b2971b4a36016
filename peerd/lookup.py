"""Which name a person means: in full, by an unambiguous beginning, or by its classifier."""

from __future__ import annotations

from collections.abc import Iterable

from peerd.errors import Conflict
from peerd.printable import printable

_SHOWN_MAX = 5


def find_name(text: str, names: Iterable[str]) -> str | None:
    """The one of `names` (`authority.classifier`) that `text` means, or None when none fits.

    A full name means itself, even when it is also the beginning of another.
    Raises: Conflict("ambiguous-name").
    """
    if not text:
        return None
    fitting = sorted({name for name in names if name.startswith(text) or name.partition(".")[2] == text})
    if text in fitting:
        return text
    if len(fitting) > 1:
        shown = ", ".join(printable(name) for name in fitting[:_SHOWN_MAX])
        more = f" and {len(fitting) - _SHOWN_MAX} more" if len(fitting) > _SHOWN_MAX else ""
        raise Conflict(
            f"“{printable(text)}” fits {len(fitting)} names: {shown}{more}",
            code="ambiguous-name",
            hint="give more of the name, or all of it",
        )
    return fitting[0] if fitting else None
