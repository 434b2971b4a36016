"""Mutants of a module, made from its source: comparisons turned, conditions, operands and calls dropped.

A mutant is one function with other code. It is put in place by giving the function that code, so whoever has
imported the function meets the mutant, and nothing else changes.
"""

from __future__ import annotations

import ast
import inspect
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SWAPPED = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One function of a module with one change; `what` says where and which."""

    module: ModuleType
    qualname: str
    what: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.module.__name__.rpartition('.')[2]}.{self.qualname}: {self.what}"

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the mutant stand where the function did."""
        function = _function(self.module, self.qualname)
        before = function.__code__
        function.__code__ = self.code
        try:
            yield
        finally:
            function.__code__ = before


class TooSlowError(Exception):
    """A mutant did not come to an end."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlowError inside when it takes longer; some mutants never end. Main thread only."""

    def stop(*_: Any) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def mutants_of(module: ModuleType) -> list[Mutant]:
    """All of a module, function by function."""
    source = inspect.getsource(module)
    tree = ast.parse(source)
    found = []
    for qualname, function in _functions(tree):
        for what, change in _changes(function):
            mutated = deepcopy(tree)
            twin = next(one for name, one in _functions(mutated) if name == qualname)
            change(twin)
            ast.fix_missing_locations(mutated)
            code = _code(compile(mutated, module.__file__ or "", "exec"), qualname)
            found.append(Mutant(module, qualname, what, code))
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _code(code: CodeType, qualname: str) -> CodeType:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if one.co_qualname == qualname:
                return one
            if qualname.startswith(one.co_qualname + "."):
                return _code(one, qualname)
    raise LookupError(qualname)


def _function(module: ModuleType, qualname: str) -> FunctionType:
    found: Any = module
    for name in qualname.split("."):
        found = found.__dict__[name]
    found = found.fget if isinstance(found, property) else found
    found = found.__func__ if isinstance(found, classmethod) else found
    assert isinstance(found, FunctionType)
    return found


Change = Callable[[ast.FunctionDef], None]


def _changes(function: ast.FunctionDef) -> Iterator[tuple[str, Change]]:
    """Each change as a step on a copy of the function, whose nodes come in the same order."""
    for index, node in enumerate(ast.walk(function)):
        text = f"line {getattr(node, 'lineno', 0) - function.lineno}: "
        if isinstance(node, ast.Compare):
            for place, op in enumerate(node.ops):
                yield text + f"{ast.unparse(node)} turned", _at(index, _turn(place, _TURNED[type(op)]))
        elif isinstance(node, ast.BoolOp):
            for place, value in enumerate(node.values):
                yield text + f"without {ast.unparse(value)}", _at(index, _drop(place))
        elif isinstance(node, ast.If):
            yield text + f"never {ast.unparse(node.test)}", _at(index, _never)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _SWAPPED:
            yield text + f"{ast.unparse(node)} swapped", _at(index, _swap)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield text + f"no {ast.unparse(node)}", _at(index, _skip)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield text + f"{ast.unparse(node)} without not", _at(index, _affirm)


def _at(index: int, change: Callable[[Any], None]) -> Change:
    return lambda function: change(next(one for at, one in enumerate(ast.walk(function)) if at == index))


def _turn(place: int, op: type[ast.cmpop]) -> Callable[[Any], None]:
    def change(node: ast.Compare) -> None:
        node.ops[place] = op()

    return change


def _drop(place: int) -> Callable[[Any], None]:
    def change(node: ast.BoolOp) -> None:
        neutral = ast.Constant(isinstance(node.op, ast.And))
        node.values[place] = neutral

    return change


def _never(node: ast.If) -> None:
    node.test = ast.Constant(False)


def _swap(node: ast.Call) -> None:
    assert isinstance(node.func, ast.Name)
    node.func.id = _SWAPPED[node.func.id]


def _skip(node: ast.Expr) -> None:
    node.value = ast.Constant(None)


def _affirm(node: ast.UnaryOp) -> None:
    node.op = ast.UAdd()
    node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
