"""Calling another daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from trio.abc import HalfCloseableStream

from peerd.errors import LinkLost
from peerd.transport.frames import Connection, FrameChannel
from peerd.transport.limits import CONNECT_S_MAX
from peerd.transport.network import TCP, Network, split_address
from peerd.transport.secure import secure_caller
from protocol.errors import RuleError

Secure = Callable[[HalfCloseableStream], Awaitable[Connection]]


async def dial(
    address: str,
    deadline_s: float = CONNECT_S_MAX,
    *,
    network: Network = TCP,
    secure: Secure = secure_caller,
) -> FrameChannel:
    """Connect to `host:port` and do the TLS handshake, all within `deadline_s` seconds.

    The channel is the caller's: start its `run` in a task, and `close` it. Whether the other side is who it
    should be is not known yet, nor whether it is a peerd that serves anything of ours.

    Raises: LinkLost, whatever went wrong, a malformed address too: it may have come from somebody else.
    """
    with trio.move_on_after(deadline_s):
        try:
            stream = await network.connect(*split_address(address))
            return FrameChannel(await secure(stream), address)
        except RuleError as error:
            raise LinkLost(error.detail) from error
        except LinkLost as error:
            raise LinkLost(f"{address}: {error.detail}") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
            raise LinkLost(f"{address} cannot be reached: {_why(error)}") from error
    raise LinkLost(f"{address} did not answer within {deadline_s:g} s")


def _why(error: BaseException) -> str:
    """The system's words, from inside the groups in which several attempts fail."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
    return str(error)
