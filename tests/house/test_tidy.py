"""The rules of the house hold here, and each of them notices its breach."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from scripts.house import plan
from scripts.house.imports import room_of
from scripts.tidy import HOUSE_RULES, RULES, findings, read_house

ROOT = Path(__file__).resolve().parents[2]
DOC = '"""What it is for."""\n'


def breaches(rule: str, path: str, code: str, **others: str) -> list[int]:
    """The lines of `path` at which `rule` finds fault with `code`, beside `others` (/ written __)."""
    texts = {name.replace("__", "/") + ".py": text for name, text in others.items()} | {path: code}
    return [found.line for found in findings(texts) if found.rule == rule and found.path == path]


def test_the_house_is_tidy() -> None:
    found = findings(read_house(ROOT))
    assert not found, "\n" + "\n".join(str(finding) for finding in found)


def test_a_finding_names_file_line_and_rule() -> None:
    texts = {"protocol/ids.py": DOC + "import trio\n", "tests/protocol/test_ids.py": ""}
    assert [str(finding) for finding in findings(texts)] == [
        "protocol/ids.py:2: pure-import: protocol is pure: no trio; time, chance and storage are handed in"
    ]


def test_a_file_that_is_no_python_is_reported_beside_the_rest() -> None:
    found = findings({"protocol/ids.py": DOC + "def (:\n", "protocol/codec.py": "import time\n"})
    assert {("protocol/ids.py", "syntax"), ("protocol/codec.py", "pure-import")} <= {
        (finding.path, finding.rule) for finding in found
    }


# --- every rule, with a breach and with its neighbor that is none -----------------------------------------

LONG = "def f() -> None:\n" + "    x = 1\n" * 70

BREACHES = [
    ("file-length", "protocol/ids.py", "x = 1\n" * 601, 1),
    ("function-length", "protocol/ids.py", LONG, 1),
    ("function-length", "peerd/clock.py", "async " + LONG, 1),
    ("nothing-undone", "protocol/ids.py", "# TODO" + ": finish\n", 1),
    ("nothing-undone", "peerd/clock.py", "x = 1  # FIXME" + "\n", 1),
    ("nothing-undone", "peerd/clock.py", "def f() -> None:\n    raise NotImplementedError\n", 2),
    ("docstring", "protocol/ids.py", "x = 1\n", 1),
    ("docstring", "protocol/ids.py", DOC + "def f() -> None: ...\n", 2),
    ("docstring", "protocol/ids.py", DOC + "async def f() -> None: ...\n", 2),
    ("docstring", "peerd/clock.py", DOC + "class C: ...\n", 2),
    ("empty-init", "protocol/wire/__init__.py", DOC, 1),
    ("pure-call", "protocol/ids.py", "x = print(1)\n", 1),
    ("pure-call", "protocol/ids.py", "x = hash(b'')\n", 1),
    ("pure-call", "protocol/ids.py", "x = id(b'')\n", 1),
    ("pure-call", "protocol/ids.py", "x = open('f')\n", 1),
    ("pure-call", "protocol/ids.py", "x = datetime.now(UTC)\n", 1),
    ("pure-call", "protocol/ids.py", "x = date.today()\n", 1),
    ("pure-call", "protocol/ids.py", "x = Ed25519PrivateKey.generate()\n", 1),
    ("pure-call", "protocol/sim.py", "x = Random()\n", 1),
    ("pure-call", "protocol/sim.py", "x = random.Random()\n", 1),
    ("pure-call", "protocol/ids.py", "import random\nx = random.randbytes(16)\n", 2),
    ("pure-call", "protocol/ids.py", "f(random.random)\n", 1),
    ("one-clock", "peerd/gossip/runner.py", "import time\n", 1),
    ("one-clock", "peerd/gossip/runner.py", "def f() -> None:\n    from time import monotonic\n", 2),
    ("one-clock", "peerd/gossip/runner.py", "x = datetime.datetime.now(UTC)\n", 1),
    ("broad-except", "peerd/clock.py", "try:\n    f()\nexcept Exception:\n    pass\n", 3),
    ("broad-except", "peerd/clock.py", "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n", 3),
    ("broad-except", "tests/test_x.py", "try:\n    f()\nexcept:\n    pass\n", 3),
    ("broad-except", "scripts/x.py", "with contextlib.suppress(Exception):\n    f()\n", 1),
    ("broad-except", "peerd/clock.py", "try:\n    f()\nexcept Exception as e:\n    raise Other from e\n", 3),
    ("broad-except", "peerd/clock.py",
     "for x in y:\n  try:\n    f()\n  except Exception:\n    if x:\n      continue\n    raise\n", 4),
    ("import-arrow", "protocol/codec.py", "from protocol.credentials.keys import sign\n", 1),
    ("import-arrow", "protocol/credentials/keys.py", "from protocol.authority import acts\n", 1),
    ("import-arrow", "protocol/wire/messages.py", "from protocol.records.record import Record\n", 1),
    ("import-arrow", "protocol/records/record.py", "import protocol.wire.framing\n", 1),
    ("import-arrow", "protocol/wire/framing.py", "from protocol.machines.link import Link\n", 1),
    ("import-arrow", "protocol/machines/link.py", "from protocol import sim\n", 1),
    ("import-arrow", "protocol/machines/link.py", "from peerd.errors import PeerdError\n", 1),
    ("import-arrow", "peerd/gossip/runner.py", "from peerd.store.group_store import GroupStore\n", 1),
    ("import-arrow", "peerd/transport/frames.py", "from protocol.machines import link\n", 1),
    ("import-arrow", "peerd/transport/frames.py", "from peerd.gossip import runner\n", 1),
    ("import-arrow", "peerd/store/group_store.py", "from protocol.machines import link\n", 1),
    ("import-arrow", "peerd/groups/registry.py", "from peerd.transport import dialer\n", 1),
    ("import-arrow", "peerd/groups/registry.py", "from peerd.control.handlers import get_group\n", 1),
    ("import-arrow", "peerd/control/handlers.py", "from peerd.gossip import runner\n", 1),
    ("import-arrow", "peerd/control/schema.py", "from peerd.control.handlers import handle\n", 1),
    ("import-arrow", "peerd/control/client.py", "from protocol.errors import RULES\n", 1),
    ("import-arrow", "peerd/client.py", "from protocol.errors import RULES\n", 1),
    ("import-arrow", "peerd/cli/group.py", "from peerd.groups.registry import Registry\n", 1),
    ("import-arrow", "peerd/cli/group.py", "from peerd.control import handlers\n", 1),
    ("import-arrow", "peerd/groups/registry.py", "def f() -> None:\n    from peerd import daemon\n", 2),
    ("import-arrow", "peerd/cli/node.py", "from peerd.daemon import run\n", 1),
    ("import-arrow", "peerd/errors.py", "from peerd.identities import Identity\n", 1),
    ("import-arrow", "peerd/elsewhere.py", "x = 1\n", 1),
    ("import-arrow", "protocol/elsewhere.py", "x = 1\n", 1),
    ("library-home", "peerd/store/group_store.py", "import trio\n", 1),
    ("library-home", "peerd/groups/registry.py", "import apsw\n", 1),
    ("library-home", "peerd/gossip/runner.py", "from OpenSSL import SSL\n", 1),
    ("library-home", "peerd/control/client.py", "import h11\n", 1),
    ("pure-import", "protocol/ids.py", "import time\n", 1),
    ("pure-import", "protocol/ids.py", "from os import urandom\n", 1),
    ("pure-import", "protocol/ids.py", "from random import randbytes\n", 1),
    ("pure-import", "protocol/ids.py", "def f() -> None:\n    import secrets\n", 2),
    ("pure-import", "protocol/ids.py", "from uuid import uuid4\n", 1),
    ("pure-import", "protocol/ids.py", "import logging\n", 1),
    ("pure-import", "protocol/machines/link.py", "import trio\n", 1),
    ("set-order", "protocol/ids.py", "for x in {1, 2}: f(x)\n", 1),
    ("set-order", "protocol/ids.py", "for x in set(y): f(x)\n", 1),
    ("set-order", "protocol/ids.py", "x = [f(y) for y in frozenset(z)]\n", 1),
    ("set-order", "protocol/ids.py", "x = {y: 1 for y in {z for z in w}}\n", 1),
    ("set-order", "protocol/ids.py", "x = list(set(y) - set(z))\n", 1),
    ("set-order", "protocol/ids.py", "x = b''.join(set(y))\n", 1),
    ("set-order", "protocol/ids.py", "x = [*set(y)]\n", 1),
    ("set-order", "protocol/ids.py", "x = tuple(a.keys() & b.keys())\n", 1),
    ("set-order", "protocol/ids.py", "def f(x: set[bytes]) -> None:\n    for y in x: g(y)\n", 2),
    ("set-order", "protocol/ids.py", "def f(x: frozenset[str] | None) -> None:\n    list(x)\n", 2),
    ("set-order", "protocol/ids.py", "def f() -> None:\n    x = set()\n    y = x | z\n    x.pop()\n", 4),
    ("set-order", "protocol/ids.py", "X = {b''}\ndef f() -> None:\n    yield from X\n", 3),
    ("set-order", "protocol/ids.py", "class C:\n  x: set[bytes]\n  def f(self):\n    list(self.x)\n", 4),
    ("set-order", "protocol/ids.py",
     "class C:\n    def f(self):\n        self.x: set[bytes] = set()\n        for y in self.x: g(y)\n", 4),
    ("no-sleep", "tests/test_x.py", "import time\ndef test() -> None:\n    time.sleep(x)\n", 3),
    ("no-sleep", "tests/test_x.py", "async def test() -> None:\n    await trio.sleep(0.1 * 2)\n", 2),
    ("no-sleep", "tests/test_x.py", "from trio import sleep\n", 1),
    ("no-skip", "tests/test_x.py", "@pytest.mark.skip\ndef test() -> None: ...\n", 1),
    ("no-skip", "tests/test_x.py", "@pytest.mark.xfail(reason='')\ndef test() -> None: ...\n", 1),
    ("no-skip", "tests/test_x.py", "def test() -> None:\n    pytest.skip('')\n", 2),
    ("mirrored-test", "protocol/ids.py", DOC, 1),
    ("mirrored-test", "peerd/cli/group.py", DOC, 1),
    ("mirrored-test", "protocol/authority/memory.py", DOC, 1),
]  # fmt: skip

HARMLESS = [
    ("file-length", "protocol/ids.py", "x = 1\n" * 600),
    ("function-length", "protocol/ids.py", LONG.removesuffix("    x = 1\n")),
    ("nothing-undone", "protocol/ids.py", "x = 'TODO'  # a list of things\n"),
    ("docstring", "protocol/ids.py", DOC + "def _f() -> None: ...\nclass _C: ...\n"),
    ("docstring", "tests/test_x.py", "def test_x() -> None: ...\n"),
    ("docstring", "protocol/wire/__init__.py", ""),
    ("empty-init", "protocol/__init__.py", DOC),
    ("pure-call", "protocol/sim.py", "x = Random(1)\n"),
    ("pure-call", "protocol/ids.py", "import random\ndef f(x: random.Random) -> int: ...\n"),
    ("pure-call", "peerd/clock.py", "x = print(1)\n"),
    ("one-clock", "peerd/clock.py", "import time\n"),
    ("one-clock", "peerd/gossip/runner.py", "x = clock.now()\n"),
    ("broad-except", "peerd/clock.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
    ("broad-except", "peerd/clock.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
    ("import-arrow", "protocol/machines/link.py", "from protocol.wire.messages import Hello\n"),
    ("import-arrow", "protocol/sim.py", "from protocol.machines.link import Link\n"),
    ("import-arrow", "peerd/gossip/runner.py", "from peerd.transport.frames import FrameChannel\n"),
    ("import-arrow", "peerd/cli/node.py", "def f() -> None:\n    from peerd.daemon import run\n"),
    ("import-arrow", "peerd/gossip/runner.py", "from protocol import VERSION\nimport protocol\n"),
    ("library-home", "peerd/store/group_store.py", "import apsw\n"),
    ("pure-import", "protocol/ids.py", "import random\nfrom random import Random\n"),
    ("set-order", "protocol/ids.py", "x = sorted(y for y in set(z))\n"),
    ("set-order", "protocol/ids.py", "x = {f(y) for y in set(z)}\n"),
    ("set-order", "protocol/ids.py", "x = 1 in {1, 2}\n"),
    ("set-order", "protocol/ids.py", "def f(x: set[int]) -> None:\n    for y in x: g(y)\n"),
    ("set-order", "protocol/ids.py", "x = list({'a': 1})\n"),
    ("set-order", "peerd/clock.py", "x = list(set(y))\n"),
    ("no-sleep", "tests/test_x.py", "async def test() -> None:\n    await trio.sleep(limits.WAIT_S + 1)\n"),
    ("no-sleep", "tests/test_x.py", "async def test(autojump_clock: C) -> None:\n    await trio.sleep(60)\n"),
    ("no-skip", "tests/test_x.py", "@pytest.mark.slow\ndef test() -> None: ...\n"),
]


@pytest.mark.parametrize(("rule", "path", "code", "line"), BREACHES)
def test_a_breach_is_found(rule: str, path: str, code: str, line: int) -> None:
    assert breaches(rule, path, code) == [line]


@pytest.mark.parametrize(("rule", "path", "code"), HARMLESS)
def test_what_is_no_breach_is_let_be(rule: str, path: str, code: str) -> None:
    assert breaches(rule, path, code) == []


def test_every_rule_is_shown_to_fire() -> None:
    assert {*RULES, *HOUSE_RULES} - {"light-start"} == {rule for rule, *_ in BREACHES}


@pytest.mark.parametrize("path", sorted(plan.BROAD_EXCEPT))
def test_two_files_may_catch_everything_once(path: str) -> None:
    once = "try:\n    f()\nexcept Exception:\n    pass\n"
    assert breaches("broad-except", path, once) == []
    assert breaches("broad-except", path, once * 2) == [7]


@pytest.mark.parametrize("library", ["trio", "cryptography"])
def test_the_command_line_loads_nothing_heavy_however_indirectly(library: str) -> None:
    assert breaches("light-start", "peerd/cli/main.py", f"import {library}\n") == [1]
    found = findings(
        {
            "peerd/cli/main.py": "from peerd.control import client\n",
            "peerd/control/__init__.py": "",
            "peerd/control/client.py": "import peerd.errors\n",
            "peerd/errors.py": f"if x:\n    import {library}.y\n",
        }
    )
    chain = "peerd.cli.main -> peerd.control.client -> peerd.errors"
    assert any(str(one).endswith(f"loads {library}, through {chain}") for one in found)


def test_what_loading_does_not_run_may_be_heavy() -> None:
    late = "def f() -> None:\n    import trio\nif TYPE_CHECKING:\n    import cryptography\n"
    assert breaches("light-start", "peerd/cli/main.py", late) == []


def test_the_client_never_loads_protocol_not_even_through_its_package() -> None:
    client = "peerd/client.py"
    assert breaches("light-start", client, "import protocol.errors\n") == [1]
    found = findings({client: DOC, "peerd/__init__.py": "import protocol\n"})
    assert [one.path for one in found if one.rule == "light-start"] == ["peerd/__init__.py"]


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("protocol/ids.py", "tests__protocol__test_ids"),
        ("protocol/ids.py", "tests__protocol__test_ids_framed"),
        ("peerd/cli/group.py", "tests__peerd__cli__test_whatever"),
        ("protocol/authority/memory.py", "tests__contract__test_memory"),
        ("protocol/limits.py", "tests__test_nothing"),
        ("protocol/wire/__init__.py", "tests__test_nothing"),
    ],
)
def test_a_source_with_its_test_is_let_be(path: str, test: str) -> None:
    assert breaches("mirrored-test", path, DOC, **{test: ""}) == []


def test_a_test_of_a_longer_name_is_not_the_mirrored_one() -> None:
    assert breaches("mirrored-test", "protocol/ids.py", DOC, tests__protocol__test_idsx="") == [1]


# --- the plan itself --------------------------------------------------------------------------------------


def test_every_room_has_its_arrows_and_every_arrow_its_room() -> None:
    assert set(plan.ROOMS) == set(plan.ARROWS)
    assert set().union(*plan.ARROWS.values()) <= set(plan.ROOMS)


def test_the_arrows_have_no_circle() -> None:
    left = dict(plan.ARROWS)
    while left:
        free = [room for room, arrows in left.items() if not arrows & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_the_pure_half_is_a_ladder_below_the_daemon() -> None:
    ladder = ["foundation", "credentials", "authority", "wire", "machines", "sim"]
    assert all(lower in plan.ARROWS[higher] for lower, higher in pairwise(ladder))
    pure = {*ladder, "records"}
    assert all(plan.ARROWS[room] <= pure for room in pure)


def test_the_longest_entry_of_the_plan_decides() -> None:
    assert room_of("peerd.control.client.Client") == "control.client"
    assert room_of("peerd.control.clientele") == "control"
    assert room_of("peerd") is None
    assert room_of("trio") is None


def test_the_plan_excuses_no_file_that_is_not_there() -> None:
    named = {*plan.TESTED_ELSEWHERE, *plan.UNTESTED, *plan.BROAD_EXCEPT}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
