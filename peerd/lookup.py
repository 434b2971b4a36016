"""Which name a person means: in full, by an unambiguous beginning, or by its classifier."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from peerd.errors import Conflict
from peerd.printable import printable

_BEGINNING_CHARACTERS_MIN = 4  # else a classifier like "a" would nearly always fit a key as well
_SHOWN_MAX = 5

T = TypeVar("T", bound=Hashable)


def find_name(text: str, names: Iterable[str]) -> str | None:
    """The one of `names` (`authority.classifier`) that `text` means, or None when none fits.

    A full name means itself, even when it is also the beginning of another; a beginning has at least 4
    characters.
    Raises: Conflict("ambiguous-name").
    """
    return find_meant(text, {name: name for name in names})


def find_meant(text: str, meanings: Mapping[str, T]) -> T | None:
    """The same for names of which several may mean one thing: what the fitting names mean."""
    if text in meanings:
        return meanings[text]
    fitting = sorted(name for name in meanings if _fits(text, name))
    if len({meanings[name] for name in fitting}) > 1:
        shown = ", ".join(printable(name) for name in fitting[:_SHOWN_MAX])
        more = f" and {len(fitting) - _SHOWN_MAX} more" if len(fitting) > _SHOWN_MAX else ""
        raise Conflict(
            f"“{printable(text)}” fits {len(fitting)} names: {shown}{more}",
            code="ambiguous-name",
            hint="give more of the name, or all of it",
        )
    return meanings[fitting[0]] if fitting else None


def all_meant(text: str, meanings: Mapping[str, T]) -> list[T]:
    """What every name means that `text` may mean: for questions to which several make one answer."""
    return list(dict.fromkeys(meaning for name, meaning in meanings.items() if _fits(text, name)))


def _fits(text: str, name: str) -> bool:
    # Guards: neither reading goes before the other, so that nobody can take over the beginning of somebody
    # else's name by choosing it as a classifier.
    begins = len(text) >= _BEGINNING_CHARACTERS_MIN and name.startswith(text)
    return begins or (text != "" and name.partition(".")[2] == text)
