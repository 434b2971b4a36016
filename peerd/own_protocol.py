"""Whether the package `protocol` is ours: it is a general name, and another distribution installs one too.

Nothing of the daemon can be imported beside that other package, so this is asked before, and imports nothing.
"""

from __future__ import annotations

import importlib

from peerd.errors import ConfigError

_MARKER = "peerd-protocol"


def check_own_protocol() -> None:
    """Refuse to go on with somebody else's. Raises: ConfigError."""
    module = importlib.import_module("protocol")
    if getattr(module, "MARKER", "") != _MARKER:
        where = module.__file__ or ", ".join(module.__path__)
        raise ConfigError(
            f"the package `protocol` at {where} is another program's",
            hint="it needs an environment of its own: pipx install peerd",
        )
