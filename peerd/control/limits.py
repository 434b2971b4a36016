"""Every bound of the control API, with its unit in the name and its source or reason beside it.

They stand apart from `protocol.limits` because the client, which must not import the protocol, reads them
too.
"""

from __future__ import annotations

# --- requests -----------------------------------------------------------------------------------------------
BODY_BYTES_MAX = 1536 * 1024  # a record's data of 1 MiB in base64, its attributes, and what surrounds them
HEADER_BYTES_MAX = 16 * 1024  # request line and headers together: what h11 itself keeps to
JSON_PARTS_MAX = 16_384  # members of all lists and objects, roughly; a full batch has 3,400
QUERY_PARAMETERS_MAX = 16  # the route with the most has four
ADDRESSES_MAX = 16  # as many as an invitation names
SECONDS_MAX = 253_402_300_799  # as long as there are years of four digits
ISSUES_MAX = 256  # credentials of one batch: one transaction, and one frame when they are flooded
PAGE_LIMIT_MAX = 1000  # entries of one page; about 500 KiB of credentials
PAGE_LIMIT_DEFAULT = 200

# --- records ------------------------------------------------------------------------------------------------
ATTRIBUTE_NAMES_MAX = 1024  # more than the 4 KiB that all attributes of a record may have can hold
ATTRIBUTE_VALUES_MAX = 1024  # of one name
RECORD_DATA_SHOWN_BYTES_MAX = 64 * 1024  # larger data come with a record only when they are asked for
SEARCH_CURSOR_CHARACTERS_MAX = 64 * 1024  # holds the values of all fields that a search orders by
REPLICATED_NEIGHBORS_MAX = 64  # arbitrary: a node has 8 links at most
REPLICATED_S_DEFAULT = 30
REPLICATED_S_MAX = 3600  # arbitrary, bounds how long a request stands

# --- the root -----------------------------------------------------------------------------------------------
ROOT_KEYS_MAX = 16  # of one set: as many as an act lists
ROOT_FILE_CHARACTERS_MAX = 88 * 1024  # 64 KiB in base64url
RECOVERY_TEXT_CHARACTERS_MAX = 4096  # a key, and the notes beside it
PASSPHRASE_CHARACTERS_MAX = 1024
WITHOUT_ACTS_MAX = 64  # arbitrary: a thief's chain is cut at its first act

# --- connections --------------------------------------------------------------------------------------------
CONNECTIONS_MAX = 128  # one more is only told so; arbitrary, bounds memory to about 200 MiB at worst
CONNECTIONS_PER_USER_MAX = 64  # of one uid, so that no user but the owner can use up the rest
BACKLOG = 64
HEADER_S_MAX = 10.0  # from the first byte of a request to the end of its headers
BODY_S_MAX = 30.0  # of a whole body; of a streamed one, until its next part
IDLE_S_MAX = 120.0  # between two requests on one connection
SEND_S_MAX = 10.0  # a client that does not read for so long is let go
LINGER_S_MAX = 1.0  # of reading on after a refusal: a close with bytes unread would lose the answer
LINGER_BYTES_MAX = 4 * BODY_BYTES_MAX
STOP_GRACE_S = 1.0  # requests that run when the daemon stops
RECEIVE_BYTES = 64 * 1024

# --- events -------------------------------------------------------------------------------------------------
EVENTS_PAGE_MAX = 256  # events read from the log at once: all that one subscriber has in memory
EVENT_KINDS_MAX = 32
CURSOR_CHARACTERS_MAX = 12 * 1024  # a place in each of some 190 groups; fits the headers
SUBSCRIBERS_MAX = 32  # arbitrary, leaves connections for requests
KEEPALIVE_S = 15.0  # a comment this often on a quiet stream shows both sides that the other is there

# --- client -------------------------------------------------------------------------------------------------
CLIENT_TIMEOUT_S = 30.0
CLIENT_REPLY_BYTES_MAX = 64 * 1024 * 1024  # the invitations of a full batch
CLIENT_LINE_BYTES_MAX = 1024 * 1024  # one event
CLIENT_SILENT_S_MAX = 3 * KEEPALIVE_S  # an event stream without a sign of life is given up
CLIENT_EXPORT_BYTES = 256 * 1024  # of an export, read at once
