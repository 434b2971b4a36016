from __future__ import annotations

import apsw
import pytest

from peerd.errors import StoreCorrupt
from peerd.store.database import Database
from peerd.store.migrations import DAEMON_SCHEMA, GROUP_SCHEMA
from peerd.store.settings import read_setting, write_setting
from protocol.limits import SETTING_BYTES_MAX


@pytest.mark.parametrize("schema", [GROUP_SCHEMA, DAEMON_SCHEMA])
def test_every_file_of_ours_keeps_settings(tmp_path, schema):
    database = Database(tmp_path / "some.db", schema)
    with database.transaction():
        write_setting(database, "name", b"value")
        write_setting(database, "empty", b"")
    assert read_setting(database, "name") == b"value"
    assert read_setting(database, "empty") == b""
    assert read_setting(database, "other") is None
    with database.transaction():
        write_setting(database, "name", None)
    assert read_setting(database, "name") is None
    database.close()


def test_value_under_another_name_is_noticed(tmp_path):
    path = tmp_path / "some.db"
    database = Database(path, DAEMON_SCHEMA)
    with database.transaction():
        write_setting(database, "name", b"value")
    database.close()
    other = apsw.Connection(str(path))
    other.execute("UPDATE settings SET key = 'other'")
    other.close()
    database = Database(path, DAEMON_SCHEMA)
    with pytest.raises(StoreCorrupt, match="the setting other has changed"):
        read_setting(database, "other")
    assert database.failed
    database.close()


def test_value_out_of_bounds_is_our_mistake(tmp_path):
    database = Database(tmp_path / "some.db", DAEMON_SCHEMA)
    with pytest.raises(AssertionError), database.transaction():
        write_setting(database, "name", bytes(SETTING_BYTES_MAX + 1))
    assert read_setting(database, "name") is None
    database.close()
