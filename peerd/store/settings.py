"""Small values under names that the code chooses: the same table in every file of ours."""

from __future__ import annotations

from peerd.store.database import Database, check_number
from protocol.authority.act_set import setting_fits


def read_setting(database: Database, key: str) -> bytes | None:
    """The value of a setting, None when it was never set or was cleared. Raises what `Database` raises."""
    rows = database.rows("SELECT value, check_number FROM settings WHERE key = ?", (key,))
    if not rows:
        return None
    value, stored = rows[0]
    if check_number(key.encode(), value) != stored:
        raise database.damaged(f"the setting {key} has changed")
    return bytes(value)


def write_setting(database: Database, key: str, value: bytes | None) -> None:
    """Set a setting, or clear it with None, in the open transaction. Raises what `Database` raises."""
    assert setting_fits(key, value)
    if value is None:
        database.write("DELETE FROM settings WHERE key = ?", (key,))
        return
    database.write(
        "INSERT OR REPLACE INTO settings (key, value, check_number) VALUES (?, ?, ?)",
        (key, value, check_number(key.encode(), value)),
    )
