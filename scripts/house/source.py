"""What the house rules look at: a Python file, what it imports, and what is found wrong in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Found = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Source:
    """One Python file of the house: its path from the root, with slashes, its text and its syntax."""

    path: str
    text: str
    tree: ast.Module

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def calls(self) -> list[ast.Call]:
        return [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def module(self) -> str:
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if self.is_init else parts)

    @property
    def top(self) -> str:
        return self.path.split("/")[0]

    @property
    def is_init(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, wherever it stands."""
        late = nodes_that_run_later(self.tree)
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [Import(target, node.lineno, node not in late) for target in targets]
        return found


@dataclass(frozen=True)
class Import:
    """One imported name: `from a import b` counts as a.b, since b may be a module."""

    target: str
    line: int
    at_start: bool  # happens when the importing module is loaded, and not for the type checker alone

    @property
    def library(self) -> str:
        return self.target.split(".")[0]


@dataclass(frozen=True, order=True)
class Finding:
    """One breach of one rule."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def nodes_that_run_later(tree: ast.Module) -> set[ast.AST]:
    """What loading a module does not run: the insides of functions, and what stands under TYPE_CHECKING."""
    late: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        ):
            late.update(inner for statement in node.body for inner in ast.walk(statement))
    return late
