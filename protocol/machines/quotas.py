"""Quotas: how much of one creator's data a group keeps, as its properties say.

A quota counts records, deleted ones too, and the bytes of their bodies, against the creator of the records,
whoever wrote the version. A local write beyond it is refused. Of what comes from others the numerically
smallest ids stay, and bytes decide only which bodies are kept; so nobody's quota touches another's records
(design section 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.limits import QUOTA_BYTES, QUOTA_IDS


@dataclass(frozen=True, slots=True)
class Quota:
    """How many records one creator may have, and how many bytes of bodies."""

    ids: int
    bytes: int


def quota_in(quotas: Mapping[str, Any]) -> Quota:
    """The quota in a group's properties (`ids`, `bytes`); what is not a number there is left at its default,
    on every node.
    """
    return Quota(_number(quotas.get("ids"), QUOTA_IDS), _number(quotas.get("bytes"), QUOTA_BYTES))


def _number(value: object, default: int) -> int:
    return value if type(value) is int and value >= 0 else default
