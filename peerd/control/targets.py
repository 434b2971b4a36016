"""Request targets: paths whose names are percent-encoded, and queries made from the schema's types."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import msgspec

from peerd.control import schema


def path_of(*segments: str) -> str:
    """The path of these segments below the API's version."""
    return "/v1/" + "/".join(quote(segment, safe="") for segment in segments)


def with_query(path: str, query: schema.Request | None) -> str:
    """A path with the fields of a query that are not at their default."""
    if query is None:
        return path
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in msgspec.to_builtins(query).items()
    }
    return f"{path}?{urlencode(given)}" if given else path
