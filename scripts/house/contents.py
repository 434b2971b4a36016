"""What a file may contain: sizes, docstrings, calls, and how errors are caught."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from scripts.house.plan import (
    BROAD_EXCEPT,
    CLOCK,
    FILE_LINES_MAX,
    FUNCTION_LINES_MAX,
    IMPURE_METHODS,
    IMPURE_NAMES,
)
from scripts.house.source import Found, Source

_UNDONE = re.compile(r"\b(TODO|FIXME|XXX)\b")
_BROAD = ("Exception", "BaseException")


def file_length(source: Source) -> Found:
    """Files that hold more than one subject, by the look of them."""
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield 1, f"{lines} lines, at most {FILE_LINES_MAX}: split it by subject"


def function_length(source: Source) -> Found:
    """Functions that do more than one thing, by the look of them."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield (
                    node.lineno,
                    f"{node.name}: {lines} lines, at most {FUNCTION_LINES_MAX}: let it do one thing",
                )


def nothing_undone(source: Source) -> Found:
    """Promises to do it later."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and (word := _UNDONE.search(token.string)):
            yield token.start[0], f"{word[0]}: finish it, or leave it out"
    for node in source.nodes:
        if isinstance(node, ast.Raise) and node.exc and "NotImplementedError" in ast.unparse(node.exc):
            yield node.lineno, "NotImplementedError: finish it, or leave it out"


def docstrings(source: Source) -> Found:
    """Modules, and public classes and functions, that do not say what they are for."""
    if source.top == "tests" or (source.is_init and not source.text):
        return
    if not ast.get_docstring(source.tree):
        yield 1, "the module does not say what it is for"
    for node in source.tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            yield node.lineno, f"{node.name} is public and does not say what it is for"


def empty_inits(source: Source) -> Found:
    """Rooms that can be entered by two doors."""
    if source.is_init and source.path.count("/") > 1 and source.text.strip():
        yield 1, "the __init__ of a room is empty: import from the file that owns the name"


def pure_calls(source: Source) -> Found:
    """Calls in protocol whose result is not decided by its arguments."""
    if source.top != "protocol":
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random" and node.attr != "Random":
            yield node.lineno, f"random.{node.attr} in protocol: take a Random as an argument"
    for call in source.calls:
        name = ast.unparse(call.func).split(".")[-1]
        known = IMPURE_NAMES if isinstance(call.func, ast.Name) else IMPURE_METHODS
        advice = "give it a seed" if name == "Random" and not call.args else known.get(name)
        if advice:
            yield call.lineno, f"{name}() in protocol: {advice}"


def one_clock(source: Source) -> Found:
    """Whoever asks for the time beside the one clock, and so cannot be tested without waiting."""
    if source.top != "peerd" or source.path == CLOCK:
        return
    advice = f"only {CLOCK} asks for the time: take a Clock or a Moment"
    for one in source.imports:
        if one.library == "time":
            yield one.line, advice
    for call in source.calls:
        callee = ast.unparse(call.func).split(".")
        if callee[-1] in ("now", "utcnow", "today") and callee[-2:-1] in (["datetime"], ["date"]):
            yield call.lineno, advice


def narrow_excepts(source: Source) -> Found:
    """Handlers that would also swallow our own mistakes; to tidy up and raise again is no such thing."""
    lines = []
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler):
            if (node.type is None or _is_broad(node.type)) and not _raises_again(node):
                lines.append(node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            lines += [node.lineno for argument in node.args if _is_broad(argument)]
    allowed = 1 if source.path in BROAD_EXCEPT else 0
    for line in sorted(lines)[allowed:]:
        yield (
            line,
            f"name the errors you expect (all are caught once each in {' and '.join(sorted(BROAD_EXCEPT))})",
        )


def _is_broad(expression: ast.expr) -> bool:
    named = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return any(ast.unparse(one).split(".")[-1] in _BROAD for one in named)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """Whether the error always goes on: a bare `raise` at the end, and no way round it."""
    last = handler.body[-1]
    ways_round = (ast.Return, ast.Break, ast.Continue)
    leaves = any(isinstance(node, ways_round) for statement in handler.body for node in ast.walk(statement))
    return isinstance(last, ast.Raise) and last.exc is None and not leaves
