"""The plan of the house: which module lives in which room, who may import whom, and the few exceptions.

Each table is the one place where a drawing is written down. When the house grows, the table is what changes,
in the same commit.
"""

from __future__ import annotations

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

# The rooms, and what stands in each: packages with all that is in them, and single modules. Of two entries
# that fit, the longer counts, so that a file may live apart from its package.
ROOMS: dict[str, tuple[str, ...]] = {
    "foundation": (
        "protocol.codec",
        "protocol.errors",
        "protocol.ids",
        "protocol.limits",
        "protocol.peer_time",
    ),
    "credentials": ("protocol.credentials",),
    "authority": ("protocol.authority",),
    "records": ("protocol.records",),
    "wire": ("protocol.wire",),
    "machines": ("protocol.machines",),
    "sim": ("protocol.sim",),
    "base": (
        "peerd.clock",
        "peerd.config",
        "peerd.errors",
        "peerd.limits",
        "peerd.logs",
        "peerd.lookup",
        "peerd.own_protocol",
        "peerd.paths",
        "peerd.printable",
    ),
    "identities": ("peerd.identities", "peerd.key_files", "peerd.root_keys", "peerd.sealed_keys"),
    "store": ("peerd.store",),
    "transport": ("peerd.transport",),
    "gossip": ("peerd.gossip",),
    "groups": ("peerd.groups",),
    "control": ("peerd.control",),
    "control.schema": (
        "peerd.control.schema",
        "peerd.control.record_schema",
        "peerd.control.authority_schema",
        "peerd.control.root_schema",
        "peerd.control.limits",
        "peerd.control.operations",
    ),
    "control.client": (
        "peerd.control.client",
        "peerd.control.authority_calls",
        "peerd.control.root_calls",
        "peerd.control.targets",
        "peerd.client",
    ),
    "cli": ("peerd.cli", "peerd.__main__"),
    "daemon": ("peerd.daemon", "peerd.supervisor"),
    "demo": ("peerd.demo",),
}

_CREDENTIALS = {"foundation"}
_AUTHORITY = {"credentials", *_CREDENTIALS}
_MACHINES = {"records", "wire", "authority", *_AUTHORITY}
_PROTOCOL = {"machines", *_MACHINES}

# The arrows as drawn: a room may import itself and these.
ARROWS: dict[str, set[str]] = {
    "foundation": set(),
    "credentials": _CREDENTIALS,
    "authority": _AUTHORITY,
    "records": {"authority", *_AUTHORITY},
    "wire": {"authority", *_AUTHORITY},
    "machines": _MACHINES,
    "sim": _PROTOCOL,
    "base": {"foundation"},
    "identities": {"base", "credentials", "foundation"},
    "store": {"base", "records", "authority", *_AUTHORITY},
    "transport": {"base", "wire", "foundation"},
    "gossip": {"base", "transport", *_PROTOCOL},
    "groups": {"base", "identities", "gossip", "store", "control.schema", *_PROTOCOL},
    "control": {"base", "groups", "control.schema", "foundation"},
    "control.schema": set(),
    "control.client": {"base", "control.schema"},
    "cli": {"base", "control.client", "control.schema", "daemon", "demo"},
    "demo": {"base", "control.client", "control.schema", "daemon"},
    "daemon": {
        "base",
        "identities",
        "store",
        "transport",
        "gossip",
        "groups",
        "control",
        "control.schema",
        *_PROTOCOL,
    },
}

# What belongs to one room only, and what one room must do without.
LIBRARY_HOME: dict[str, str] = {"OpenSSL": "transport", "apsw": "store", "click": "cli", "h11": "control"}
LIBRARY_REFUSED: dict[str, set[str]] = {"store": {"trio"}}

# Rooms that are imported in the function that starts them, because they load everything.
STARTED_LATE = {"daemon", "demo"}

# What loading these may not load, however indirectly. The command line answers in the blink of an eye; the
# client lives in other people's programs, where `protocol` may be another distribution's name.
_HEAVY = frozenset({"OpenSSL", "apsw", "cryptography", "h11", "trio"})
LIGHT: dict[str, frozenset[str]] = {
    "peerd.cli": _HEAVY,
    "peerd.client": _HEAVY | {"protocol"},
    "peerd.control.client": _HEAVY | {"protocol"},
}

PURE_LIBRARIES = {"msgpack", "msgspec", "cryptography"}
PURE_STANDARD = {
    "__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy",
    "dataclasses", "datetime", "enum", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools",
    "math", "operator", "re", "string", "struct", "types", "typing", "unicodedata", "xml",
}  # fmt: skip
IMPURE_NAMES = {
    "print": "return it as an output or a notice",
    "input": "take it as an argument",
    "open": "storage is a port that is handed in",
    "id": "it differs in every process; use an id of the protocol",
    "hash": "it differs in every process; use hashlib",
    "eval": "never",
    "exec": "never",
}
IMPURE_METHODS = {
    "now": "take `now` as an argument",
    "utcnow": "take `now` as an argument",
    "today": "take `now` as an argument",
    "generate": "take the seed as an argument",
    "generate_key": "take the key as an argument",
    "random_serial_number": "derive it",
}

# Broad `except` stands in these files, once in each, and nowhere else.
BROAD_EXCEPT = {"peerd/gossip/neighbors.py", "peerd/control/server.py"}
CLOCK = "peerd/clock.py"

# Sources whose tests are not at the mirrored path, and where they are.
TESTED_ELSEWHERE: dict[str, str] = {
    "protocol/authority/memory.py": "tests/contract/test_memory.py",
    "protocol/records/memory.py": "tests/contract/test_memory.py",
    "protocol/machines/chains.py": "tests/protocol/machines/test_issue.py",
    "protocol/machines/commands.py": "tests/protocol/machines/test_removal.py",
    "protocol/machines/sets.py": "tests/protocol/machines/test_group.py",
    "peerd/control/authority_calls.py": "tests/peerd/control/test_client.py",
    "peerd/control/targets.py": "tests/peerd/control/test_client.py",
    "peerd/control/authority_schema.py": "tests/peerd/control/test_schema.py",
    "peerd/control/root_calls.py": "tests/peerd/control/test_client.py",
    "peerd/control/root_schema.py": "tests/peerd/control/test_schema.py",
    "peerd/control/root_routes.py": "tests/peerd/control/test_routes.py",
    "peerd/control/route.py": "tests/peerd/control/test_routes.py",
    "peerd/store/group_store.py": "tests/contract/test_sqlite.py",
    "peerd/store/record_buffer.py": "tests/contract/test_sqlite.py",
    "peerd/store/record_rows.py": "tests/contract/test_sqlite.py",
    "peerd/store/record_store.py": "tests/contract/test_sqlite.py",
    "peerd/demo/nodes.py": "tests/system/test_nodes.py",
    "peerd/demo/story.py": "tests/system/test_demo.py",
}
# Rooms whose tests are grouped by subject: any test below the named directory will do.
TESTED_TOGETHER: dict[str, str] = {
    "peerd/cli": "tests/peerd/cli",
    "protocol/sim": "tests/simulation",
}
# Sources that need no test of their own, and why.
UNTESTED: dict[str, str] = {
    "protocol/limits.py": "constants; whoever uses one tests it",
    "peerd/transport/limits.py": "constants; whoever uses one tests it",
    "peerd/control/limits.py": "constants; whoever uses one tests it",
    "protocol/authority/act_set.py": "a port; its implementations are tested by one contract",
    "protocol/records/record_set.py": "a port; its implementations are tested by one contract",
    "peerd/control/operations.py": "a port; its implementation is tested with groups",
    "peerd/__main__.py": "one line; the system tests start it",
}
