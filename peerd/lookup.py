"""Which name a person means: in full, by an unambiguous beginning, or by its classifier."""

from __future__ import annotations

from collections.abc import Iterable

from peerd.errors import Conflict
from peerd.printable import printable

_BEGINNING_CHARACTERS_MIN = 4  # else a classifier like "a" would nearly always fit a key as well
_SHOWN_MAX = 5


def find_name(text: str, names: Iterable[str]) -> str | None:
    """The one of `names` (`authority.classifier`) that `text` means, or None when none fits.

    A full name means itself, even when it is also the beginning of another; a beginning has at least 4
    characters.
    Raises: Conflict("ambiguous-name").
    """
    fitting = sorted({name for name in names if _fits(text, name)})
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


def _fits(text: str, name: str) -> bool:
    # Guards: neither reading goes before the other, so that nobody can take over the beginning of somebody
    # else's name by choosing it as a classifier.
    begins = len(text) >= _BEGINNING_CHARACTERS_MIN and name.startswith(text)
    return begins or (text != "" and name.partition(".")[2] == text)
