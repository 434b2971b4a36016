"""Every bound of the transport, with its unit in the name and its reason beside it."""

from __future__ import annotations

from protocol.limits import HANDSHAKE_MS_MAX

# --- deadlines (protocol-study 5.5, promise P10) ------------------------------------------------------------
CONNECT_S_MAX = HANDSHAKE_MS_MAX / 1000  # of a dial: name, TCP and TLS together
STRANGER_S_MAX = HANDSHAKE_MS_MAX / 1000  # from accept to `Slot.promote`, so that a stranger leaves no state
FRAME_S_MAX = 30.0  # from the first byte of a frame to its last
WRITE_STALL_S_MAX = 30.0  # for one piece of RECORD_BYTES
CLOSE_S_MAX = 2.0  # to flush, say goodbye and hear the other side's end: a stop has 5 s (promise P40)

# --- pieces -------------------------------------------------------------------------------------------------
RECORD_BYTES = 16 * 1024  # the most that one TLS record holds (RFC 8446 5.1)
READ_BYTES = 64 * 1024  # taken from a socket at once: a few records

# --- slots (promise P10, reliability-study M8) --------------------------------------------------------------
STRANGERS_MAX = 128
STRANGERS_PER_ADDRESS_MAX = 8
MEMBERS_MAX = 512  # of all groups of a daemon: arbitrary, bounds descriptors and memory (some 30 KiB each)
LISTENERS_MAX = 16  # arbitrary; a name like "localhost" binds two
