"""Where the order of a set would show in the pure half.

The order of a set of bytes or strings differs in every process, so whatever depends on it differs from node
to node and from run to run. This follows sets by their displays, calls and annotations, inside one file; it
is no type checker, and need not be: the simulator finds the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from scripts.house.source import Found, Source

_ORDER_FREE = {"sorted", "set", "frozenset", "any", "all", "sum", "min", "max", "len"}
_ORDER_KEEPING = {
    "enumerate", "extend", "filter", "fromkeys", "iter", "join", "list", "map", "next", "tuple", "zip",
}  # fmt: skip
_SET_TYPES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
_SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def no_set_order(source: Source) -> Found:
    """Uses of a set that show its order."""
    if source.top != "protocol":
        return
    attributes = _set_attributes(source.tree)
    constants = _set_names(source.tree)
    for scope in source.nodes:
        if isinstance(scope, _Scope):
            sets = _SetNames(constants | _set_names(scope), attributes)
            for line in sorted(_ordered_uses(scope, sets)):
                yield line, "the order of a set differs in every process: use a dict, or sorted()"


@dataclass(frozen=True)
class _SetNames:
    """The names and attributes that hold sets, and from them, which expressions do."""

    names: frozenset[str]
    attributes: frozenset[str]

    def holds(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(attr=name):
                return name in self.attributes
            case ast.Call(func=ast.Name(id=("set" | "frozenset"))):
                return True
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _SET_METHODS:
                return self.holds(value)
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), left=left, right=right):
                return any(self.holds(side) or _is_key_view(side) for side in (left, right))
            case ast.IfExp(body=first, orelse=second):
                return self.holds(first) or self.holds(second)
            case _:
                return False


def _is_key_view(node: ast.expr) -> bool:
    """Whether it is `x.keys()`: set operations on it give sets."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def _annotates_set(annotation: ast.expr | None) -> bool:
    """Whether an annotation says set; one of integers is the same everywhere."""
    if annotation is None:
        return False
    for part in ast.unparse(annotation).split("|"):
        name, _, content = part.strip().partition("[")
        if name.split(".")[-1] in _SET_TYPES and content != "int]":
            return True
    return False


def _own_nodes(scope: _Scope) -> Iterator[ast.AST]:
    """The nodes of a scope without those of the functions inside it."""
    stack: list[ast.AST] = list(scope.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            stack += ast.iter_child_nodes(node)


def _set_names(scope: _Scope) -> frozenset[str]:
    """The names that a scope binds to sets: its arguments, and what is annotated or assigned in it."""
    names: set[str] = set()
    if not isinstance(scope, ast.Module):
        given = scope.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            if _annotates_set(argument.annotation):
                names.add(argument.arg)
    for node in sorted(_own_nodes(scope), key=lambda node: getattr(node, "lineno", 0)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if _annotates_set(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.Assign) and _SetNames(frozenset(names), frozenset()).holds(node.value):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return frozenset(names)


def _set_attributes(tree: ast.Module) -> frozenset[str]:
    """Attributes that this file declares as sets: in a class body, or as `self.name: set[…] = …`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.update(
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and _annotates_set(item.annotation)
            )
        elif (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Attribute)
            and _annotates_set(node.annotation)
        ):
            found.add(node.target.attr)
    return frozenset(found)


def _ordered_uses(scope: _Scope, sets: _SetNames) -> set[int]:
    """The lines on which a set's order shows."""
    nodes = list(_own_nodes(scope))
    harmless = {
        argument
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ORDER_FREE
        for argument in node.args
    }
    lines: set[int] = set()
    for node in nodes:
        used: list[ast.expr] = []
        match node:
            case (
                ast.For(iter=one) | ast.AsyncFor(iter=one) | ast.YieldFrom(value=one) | ast.Starred(value=one)
            ):
                used = [one]
            case ast.ListComp() | ast.DictComp() | ast.GeneratorExp() if node not in harmless:
                used = [generator.iter for generator in node.generators]
            case ast.Call(func=ast.Name(id=name), args=arguments) if name in _ORDER_KEEPING:
                used = arguments if node not in harmless else []
            case ast.Call(func=ast.Attribute(attr=name), args=arguments) if name in _ORDER_KEEPING:
                used = arguments
            case ast.Call(func=ast.Attribute(attr="pop", value=one), args=[]):
                used = [one]
            case _:
                pass
        lines.update(one.lineno for one in used if sets.holds(one))
    return lines
