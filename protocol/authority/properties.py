"""The group's properties: what of them may be changed, and to what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.authority.bodies import PropertiesBody
from protocol.codec import encode
from protocol.credentials.names import check_comment, check_friendly_name
from protocol.errors import RuleError
from protocol.limits import PROPERTIES_BYTES_MAX


def changed_properties(before: PropertiesBody, changes: Mapping[str, Any]) -> PropertiesBody:
    """The properties after some changes. Raises: RuleError(invalid-properties, invalid-friendly-name)."""
    unknown = sorted(changes.keys() - set(PropertiesBody.__struct_fields__))
    if unknown:
        raise _bad_properties(f"there is no property {unknown[0]}")
    merged = {**msgspec.to_builtins(before, builtin_types=(bytes,)), **changes}
    try:
        body = msgspec.convert(merged, PropertiesBody, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise _bad_properties(f"the properties are not acceptable: {error}") from None
    check_friendly_name(body.friendly)
    check_comment(body.comment)
    if len(encode(msgspec.to_builtins(body, builtin_types=(bytes,)))) > PROPERTIES_BYTES_MAX:
        raise _bad_properties("the properties are too large to travel")
    return body


def _bad_properties(detail: str) -> RuleError:
    return RuleError("invalid-properties", detail, hint="peerd group set GROUP shows what they are now")
