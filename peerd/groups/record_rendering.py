"""Records between the control API's words and the protocol's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from peerd.control.record_schema import AttributeValue, DateValue, Record
from peerd.control.schema import time_at, time_at_ms
from peerd.groups.base64url import read_base64url
from protocol.authority.view import View
from protocol.errors import RuleError
from protocol.machines.facts import name_or_authority
from protocol.peer_time import hlc_ms
from protocol.records.attributes import DATE, INT, STRING, Attribute
from protocol.records.record import Header

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def record(view: View, group: str, header: Header, *, data_held: bool, auto_refresh: bool) -> Record:
    """A version as the record that it is shown as."""
    return Record(
        record_id=header.record_id.hex(),
        group=group,
        record_type=header.type,
        version_id=header.id.hex(),
        version=header.version,
        creator=name_or_authority(view, header.creator),
        modified_by=name_or_authority(view, header.author),
        created=time_at_ms(hlc_ms(header.created)),
        modified=time_at_ms(header.hlc_ms),
        expires=None if header.expires is None else time_at(header.expires),
        durable=header.durable,
        auto_refresh=auto_refresh,
        attributes=shown_attributes(header.attributes),
        size=header.size,
        data_held=data_held,
    )


def shown_attributes(attributes: Sequence[Attribute]) -> dict[str, AttributeValue | list[AttributeValue]]:
    """Attributes by name: one value, or a list of them where the name stands more than once."""
    values: dict[str, list[AttributeValue]] = {}
    for attribute in attributes:
        values.setdefault(attribute.name, []).append(_shown(attribute))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _shown(attribute: Attribute) -> AttributeValue:
    if attribute.kind != DATE:
        return attribute.value
    assert isinstance(attribute.value, int)
    return DateValue(date=_EPOCH + attribute.value * _MS)


def wished_attributes(
    attributes: Mapping[str, AttributeValue | list[AttributeValue]],
) -> tuple[Attribute, ...]:
    """Attributes as the rules take them, not yet checked."""
    return tuple(
        _wished(name, value)
        for name, values in attributes.items()
        for value in (values if isinstance(values, list) else [values])
    )


def _wished(name: str, value: AttributeValue) -> Attribute:
    match value:
        case int():
            return Attribute(name, INT, value)
        case str():
            return Attribute(name, STRING, value)
        case DateValue(date=date):
            return Attribute(name, DATE, (date - _EPOCH) // _MS)


def wished_data(text: str) -> bytes:
    """Data as a caller wrote them. Raises: RuleError(invalid-argument)."""
    data = read_base64url(text)
    if data is None:
        raise RuleError(
            "invalid-argument",
            "data is not base64url without padding",
            hint="basenc --base64url -w0 FILE | tr -d =, or send the file itself to …/data",
        )
    return data


def wished_id(text: str, digits: int, what: str) -> bytes:
    """An id in full, in hex. Raises: RuleError(invalid-argument)."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(text) != digits or len(found) * 2 != digits:
        raise RuleError("invalid-argument", f"{what} has {digits} hex digits", hint="peerd record list GROUP")
    return found
