"""Who calls, and what they may do: the kernel tells who connected, the policy what that user may do.

A decision is made on the user id alone: a process id may by now belong to another process.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

_UCRED = struct.Struct("=iII")  # struct ucred of unix(7): pid_t, uid_t, gid_t
_ROOT_UID = 0


class Access(IntEnum):
    """What a caller may do; each level includes those before it."""

    NONE = 0
    READ = 1  # look, at nothing secret
    OPERATE = 2  # also open and close links
    ADMIN = 3  # everything: make and use keys, issue, delete


class HasOptions(Protocol):
    """A socket, the standard library's or trio's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """The bytes of an option."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The process that opened a connection, as the kernel noted it then."""

    pid: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Which users may do what. The daemon's own user and root may do everything."""

    owner_uid: int = field(default_factory=os.geteuid)
    operator_uids: frozenset[int] = frozenset()
    reader_uids: frozenset[int] = frozenset()

    def access_of(self, caller: Caller | None) -> Access:
        """What this caller may do; nothing when the system does not say who it is."""
        if caller is None:
            return Access.NONE
        if caller.uid in (self.owner_uid, _ROOT_UID):
            return Access.ADMIN
        if caller.uid in self.operator_uids:
            return Access.OPERATE
        return Access.READ if caller.uid in self.reader_uids else Access.NONE


def caller_of(sock: HasOptions) -> Caller | None:
    """Who connected this Unix socket; `None` on systems without SO_PEERCRED."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Caller(pid, uid, gid)
