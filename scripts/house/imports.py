"""Who may import whom, and what must stay light to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scripts.house.plan import (
    ARROWS,
    LIBRARY_HOME,
    LIBRARY_REFUSED,
    LIGHT,
    PURE_LIBRARIES,
    PURE_STANDARD,
    ROOMS,
    STARTED_LATE,
)
from scripts.house.source import Finding, Found, Import, Source

_FRONT_DOORS = ("peerd/__init__.py", "protocol/__init__.py")
_ROOM_BY_MODULE = {module: room for room, modules in ROOMS.items() for module in modules}


def room_of(module: str) -> str | None:
    """The room of a dotted name, by its longest known prefix; None for a front door and for libraries."""
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((_ROOM_BY_MODULE[prefix] for prefix in prefixes if prefix in _ROOM_BY_MODULE), None)


def arrows(source: Source) -> Found:
    """Imports between rooms that the plan does not draw, and modules that live in no room."""
    if source.top not in ("peerd", "protocol"):
        return
    room = room_of(source.module)
    if room is None and source.path not in _FRONT_DOORS:
        yield 1, "belongs to no room: give it one in scripts/house/plan.py"
    for one in source.imports:
        if source.top == "protocol" and one.library == "peerd":
            yield one.line, f"protocol never imports peerd ({one.target})"
            continue
        target = room_of(one.target)
        if room is None or target in (None, room):
            continue
        if target not in ARROWS[room]:
            yield one.line, f"{room} may not import {target} ({one.target})"
        elif target in STARTED_LATE and one.at_start:
            yield (
                one.line,
                f"import {one.target} in the function that starts it: all else must answer quickly",
            )


def library_homes(source: Source) -> Found:
    """Libraries outside the one room that owns them."""
    room = room_of(source.module)
    if room is None or source.top != "peerd":
        return
    for one in source.imports:
        home = LIBRARY_HOME.get(one.library, room)
        if home != room:
            yield one.line, f"only {home} uses {one.library}"
        if one.library in LIBRARY_REFUSED.get(room, ()):
            yield one.line, f"{room} never imports {one.library}"


def pure_imports(source: Source) -> Found:
    """Anything in protocol that could reach a clock, a disk, a network, or chance."""
    if source.top != "protocol":
        return
    allowed = {"protocol", "peerd", *PURE_LIBRARIES, *PURE_STANDARD}  # peerd is judged by the arrows
    for one in source.imports:
        if one.library not in allowed and one.target not in ("random", "random.Random"):
            yield one.line, f"protocol is pure: no {one.library}; time, chance and storage are handed in"


def light_start(sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Heavy libraries that loading a light module would load, however indirectly."""
    modules = {source.module: source for source in sources.values() if source.top in ("peerd", "protocol")}
    for module in sorted(modules):
        entry = next((name for name in LIGHT if f"{module}.".startswith(f"{name}.")), None)
        if entry is None:
            continue
        for chain, one in _loaded_by(module, modules):
            if one.library in LIGHT[entry]:
                text = f"loading {module} loads {one.library}, through {' -> '.join(chain)}"
                yield Finding(modules[chain[-1]].path, one.line, "light-start", text)


def _loaded_by(module: str, modules: Mapping[str, Source]) -> Iterator[tuple[tuple[str, ...], Import]]:
    """What loading a module imports in the end, each with the chain of modules that leads to it."""
    reached: list[tuple[str, ...]] = []
    seen: set[str] = set()

    def reach(target: str, chain: tuple[str, ...]) -> None:
        parts = target.split(".")
        for length in range(1, len(parts) + 1):  # a package is loaded before what is in it
            name = ".".join(parts[:length])
            if name in modules and name not in seen:
                seen.add(name)
                reached.append((*chain, name))

    reach(module, ())
    for chain in reached:  # grows while it is read
        for one in modules[chain[-1]].imports:
            if one.at_start:
                yield chain, one
                reach(one.target, chain)
