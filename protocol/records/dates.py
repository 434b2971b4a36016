"""Points in time as people write them: the forms of W3C's NOTE-datetime, of which RFC 3339 is one.

`2026`, `2026-01`, `2026-01-02`, `2026-01-02T10:30Z`, `2026-01-02T10:30:00.250+01:00`. What is left out is the
earliest there is: a day is its first instant in UTC. Kept to the millisecond; finer digits are cut off.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

DATE_MS_MIN = -62_135_596_800_000  # 0001-01-01T00:00:00Z
DATE_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
DATE_FORMS = "2026-01-02 or 2026-01-02T10:30:00Z"

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d)))?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def date_ms(text: str) -> int | None:
    """Milliseconds since 1970 UTC, or None for what is no date of the years 1 to 9999."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict(default="")
    year, month, day = (int(parts[name] or 1) for name in ("year", "month", "day"))
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    ahead = timedelta(hours=int(parts["hours"] or 0), minutes=int(parts["minutes"] or 0))
    since = local - _EPOCH + (ahead if parts["sign"] == "-" else -ahead)
    ms = since // _MS + int(parts["fraction"].ljust(3, "0")[:3])
    return ms if DATE_MS_MIN <= ms <= DATE_MS_MAX else None


def date_text(ms: int) -> str:
    """A date in RFC 3339's form, in UTC; without a fraction where there is none."""
    assert DATE_MS_MIN <= ms <= DATE_MS_MAX
    moment = _EPOCH + ms * _MS
    return moment.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
