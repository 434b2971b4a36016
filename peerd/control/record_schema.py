"""What is said on the control API about records: writing, reading, searching, export and import.

The rules of `schema` hold here too. Besides: a record's id has 32 hex digits and a version's 64, and a
record may be named by an unambiguous beginning of its id or of the id's second half (the first half is the
same for all records of one creator) · an attribute's value is a number, a text, or a
date as `{"date": "2030-01-31T12:00:00Z"}`; a name that stands more than once in a record has a list of
values · data is base64url without padding, and raw under `/data`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

from peerd.control.limits import (
    ATTRIBUTE_NAMES_MAX,
    ATTRIBUTE_VALUES_MAX,
    REPLICATED_NEIGHBORS_MAX,
    REPLICATED_S_DEFAULT,
    REPLICATED_S_MAX,
    SEARCH_CURSOR_CHARACTERS_MAX,
)
from peerd.control.schema import Page, Reply, Request, Seconds, Time

Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Neighbors = Annotated[int, Meta(ge=0, le=REPLICATED_NEIGHBORS_MAX)]
WaitSeconds = Annotated[int, Meta(ge=0, le=REPLICATED_S_MAX)]


class DateValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point in time as the value of an attribute; kept to the millisecond."""

    date: Time


AttributeValue = Integer | str | DateValue
AttributeValues = AttributeValue | Annotated[list[AttributeValue], Meta(max_length=ATTRIBUTE_VALUES_MAX)]
Attributes = Annotated[dict[str, AttributeValues], Meta(max_length=ATTRIBUTE_NAMES_MAX)]


class Record(Reply, frozen=True, kw_only=True):
    """A unit of an application's data, as its newest valid version has it.

    `creator` and `modified_by` are peer names, `modified_by` that of whoever wrote this version; `version` is
    a counter for people, `version_id` what tells versions apart. `durable`: it lives until it is deleted;
    else it ends at `expires`. `size` is that of the data, `data_held` whether they are here already, and
    `data` holds them where they were asked for. `auto_refresh`: this daemon prolongs it before it expires.
    `replicated`, in the answer to a write that waited: so many neighbors hold this version durably.
    """

    record_id: str
    group: str
    record_type: str
    version_id: str
    version: int
    creator: str
    modified_by: str
    created: Time
    modified: Time
    expires: Time | None
    durable: bool
    auto_refresh: bool
    attributes: dict[str, AttributeValue | list[AttributeValue]]
    size: int
    data_held: bool
    data: str | None = None
    deleted: bool = False
    replicated: int | None = None


class RecordQuery(Request, frozen=True, kw_only=True):
    """How much of a record: with its `data`, or with them only when they are small (absent)."""

    data: bool | None = None


class RecordsQuery(Page, frozen=True, kw_only=True):
    """Which records: of one type, of one creator (a peer name), or all."""

    record_type: str | None = None
    creator: str | None = None


class Records(Reply, frozen=True, kw_only=True):
    """One page of records, without their data; `next` is `null` on the last page."""

    records: list[Record]
    next: str | None = None


class RecordAdd(Request, frozen=True, kw_only=True):
    """A new record.

    It is durable unless it is given an end: `expires`, or `valid_s` from now on. `auto_refresh` lets this
    daemon prolong it by the same time before it expires. `wait_replicated` lets the answer wait, for at most
    `timeout_s`, until so many neighbors hold it durably too.
    """

    record_type: str
    attributes: Attributes = field(default_factory=dict)
    data: str = ""
    expires: Time | None = None
    valid_s: Seconds | None = None
    auto_refresh: bool = False
    wait_replicated: Neighbors = 0
    timeout_s: WaitSeconds = REPLICATED_S_DEFAULT


class RecordChange(Request, frozen=True, kw_only=True):
    """What of a record is to change; the rest stays. `attributes` replaces all of them.

    `if_version` (or the header If-Match): only if this is still the newest version. The other fields are
    those of `RecordAdd`.
    """

    attributes: Attributes | UnsetType = UNSET
    data: str | UnsetType = UNSET
    expires: Time | None = None
    valid_s: Seconds | None = None
    auto_refresh: bool | None = None
    if_version: str | None = None
    wait_replicated: Neighbors = 0
    timeout_s: WaitSeconds = REPLICATED_S_DEFAULT


class WriteQuery(Request, frozen=True, kw_only=True):
    """How a write without a JSON body is done; the fields are those of `RecordChange`."""

    if_version: str | None = None
    wait_replicated: Neighbors = 0
    timeout_s: WaitSeconds = REPLICATED_S_DEFAULT


class RecordDeleted(Reply, frozen=True, kw_only=True):
    """The record is deleted; `version_id` is the version that says so."""

    record_id: str
    group: str
    version_id: str
    deleted: bool = True
    replicated: int | None = None


class RecordSearch(Page, frozen=True, kw_only=True):
    """A search: an expression in `query`, or the original system's `peersearch` document in `xml`.

    An expression may end in `order by …` and `limit N`; the `limit` here is that of a page.
    """

    query: str | None = None
    xml: str | None = None
    cursor: Annotated[str, Meta(max_length=SEARCH_CURSOR_CHARACTERS_MAX)] | None = None


class Imported(Reply, frozen=True, kw_only=True):
    """What an import has brought: how many acts and certificates, and how many versions of records, were new
    here, and how many were refused. The same file brings nothing a second time.
    """

    group: str
    elements: int
    records: int
    refused: int
