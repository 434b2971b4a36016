"""What holds for tests: each source has one, none sleeps, none is skipped."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from scripts.house.plan import TESTED_ELSEWHERE, TESTED_TOGETHER, UNTESTED
from scripts.house.source import Finding, Found, Source

_VIRTUAL_CLOCKS = ("autojump_clock", "mock_clock", "MockClock")


def mirrored(sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Sources without a test where one is expected."""
    for path, source in sources.items():
        if source.top not in ("peerd", "protocol") or source.is_init or path in UNTESTED:
            continue
        room, _, name = path.removesuffix(".py").rpartition("/")
        if path in TESTED_ELSEWHERE:
            wanted, tested = TESTED_ELSEWHERE[path], TESTED_ELSEWHERE[path] in sources
        elif room in TESTED_TOGETHER:
            wanted = f"{TESTED_TOGETHER[room]}/test_*.py"
            tested = any(test.startswith(f"{TESTED_TOGETHER[room]}/test_") for test in sources)
        else:
            wanted = f"tests/{room}/test_{name}.py"
            tested = any(test == wanted or test.startswith(f"tests/{room}/test_{name}_") for test in sources)
        if not tested:
            yield Finding(path, 1, "mirrored-test", f"no test in {wanted}")


def no_sleeping(source: Source) -> Found:
    """Waits of a fixed length on a real clock: too long on a quick machine, too short on a busy one."""
    if source.top != "tests":
        return
    for one in source.imports:
        if one.target in ("time.sleep", "trio.sleep"):
            yield one.line, f"{one.target}: import the module, so that the reader sees who sleeps"
    virtual = _nodes_on_a_virtual_clock(source.tree)
    for call in source.calls:
        callee = ast.unparse(call.func)
        if callee == "time.sleep":
            yield call.lineno, "time.sleep: wait for the event itself"
        elif callee == "trio.sleep" and call not in virtual and not _names_something(call.args):
            yield call.lineno, "trio.sleep of a literal: wait for the event itself, or use a mock clock"


def _nodes_on_a_virtual_clock(tree: ast.Module) -> set[ast.AST]:
    """All that stands in functions which mention a mock clock, where time costs nothing and is exact."""
    nodes: set[ast.AST] = set()
    for function in tree.body:
        text = ast.unparse(function)
        if any(clock in text for clock in _VIRTUAL_CLOCKS):
            nodes.update(ast.walk(function))
    return nodes


def _names_something(expressions: list[ast.expr]) -> bool:
    return any(isinstance(node, ast.Name | ast.Attribute) for one in expressions for node in ast.walk(one))


def no_skipping(source: Source) -> Found:
    """Tests that do not run, or may fail."""
    if source.top != "tests":
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.startswith("pytest.") and name.endswith((".skip", ".skipif", ".xfail", ".importorskip")):
                yield node.lineno, f"{name}: a test that does not run shows nothing"
