from __future__ import annotations

import itertools

import apsw
import msgspec
import pytest
from hypothesis import given, strategies as st

from peerd.errors import StoreCorrupt, StoreError
from peerd.store.daemon_store import CatalogueEntry, DaemonStore, GroupState
from protocol.limits import KNOWN_ADDRESSES_MAX
from tests.peerd.store.disks import disk, io_error

FRIENDS = CatalogueEntry(
    authority=b"f" * 20,
    gid=b"f" * 32,
    group_name=(b"f" * 20).hex() + ".friends",
    identity=(b"i" * 20).hex() + ".me",
    state=GroupState.OPEN,
    addresses=("192.0.2.1:3587", "[2001:db8::1]:3587"),
    connected=False,
    only=True,
    created_here=True,
)
AWAITED = CatalogueEntry(
    authority=b"a" * 20, gid=None, group_name="a", identity="me", state=GroupState.JOINING
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "daemon.db"


@pytest.fixture
def store(path):
    store = DaemonStore(path)
    yield store
    store.close()


def test_new_catalogue_is_empty(store):
    assert store.groups() == ()
    assert store.group(b"f" * 20) is None
    assert store.setting("node") is None


def test_entry_comes_back_as_it_was_put_also_after_a_restart(store, path):
    store.put_group(FRIENDS)
    store.put_group(AWAITED)
    assert store.group(FRIENDS.authority) == FRIENDS
    store.close()
    again = DaemonStore(path)
    assert again.groups() == (FRIENDS, AWAITED)
    again.close()


def test_new_contents_replace_an_entry_and_leave_its_place(store):
    store.put_group(AWAITED)
    store.put_group(FRIENDS)
    joined = msgspec.structs.replace(AWAITED, gid=b"a" * 32, state=GroupState.OPEN, addresses=("x:1",))
    store.put_group(joined)
    assert store.groups() == (joined, FRIENDS)


def test_removed_group_is_gone_and_others_stay(store):
    store.put_group(FRIENDS)
    store.put_group(AWAITED)
    store.remove_group(FRIENDS.authority)
    store.remove_group(b"x" * 20)
    assert store.groups() == (AWAITED,)
    assert store.group(FRIENDS.authority) is None


def test_setting_is_what_was_set_last(store):
    store.set_setting("node", b"1")
    store.set_setting("node", b"2")
    assert store.setting("node") == b"2"
    store.set_setting("node", None)
    assert store.setting("node") is None


@given(st.lists(st.text(max_size=255), max_size=KNOWN_ADDRESSES_MAX), st.text(), st.text())
def test_any_text_survives(tmp_path_factory, addresses, group_name, identity):
    entry = msgspec.structs.replace(
        FRIENDS, addresses=tuple(addresses), group_name=group_name, identity=identity
    )
    with disk() as disk_:
        store = DaemonStore(tmp_path_factory.mktemp("daemon") / "daemon.db", vfs=disk_.name)
        store.put_group(entry)
        assert store.groups() == (entry,)
        store.close()


@pytest.mark.parametrize(
    "change",
    [
        {"authority": b"f" * 19},
        {"gid": b"f" * 20},
        {"gid": b"x" * 32},
        {"gid": None},
        {"addresses": ("a:1",) * (KNOWN_ADDRESSES_MAX + 1)},
    ],
)
def test_entry_that_contradicts_itself_is_our_mistake(change):
    with pytest.raises(AssertionError):
        msgspec.structs.replace(FRIENDS, **change)


def test_failure_of_any_write_leaves_the_old_catalogue_or_the_new(tmp_path):
    new = msgspec.structs.replace(FRIENDS, identity="another")
    for number in itertools.count(1):
        path = tmp_path / str(number) / "daemon.db"
        path.parent.mkdir(mode=0o700)
        with disk() as disk_:
            store = DaemonStore(path, vfs=disk_.name)
            store.put_group(FRIENDS)
            disk_.fail_from(number, io_error)
            try:
                store.put_group(new)
            except StoreError:
                disk_.heal()
                with pytest.raises(StoreError):
                    store.groups()
                store.close()
            else:
                disk_.heal()
                store.close()
                break
            again = DaemonStore(path, vfs=disk_.name)
            assert again.groups() in ((FRIENDS,), (new,))
            again.close()
    assert number > 2


def test_entry_that_has_changed_on_disk_is_named_and_the_store_refused(path):
    store = DaemonStore(path)
    store.put_group(FRIENDS)
    store.close()
    other = apsw.Connection(str(path))
    other.execute("UPDATE groups SET entry = CAST(replace(entry, 'friends', 'enemies') AS BLOB)")
    other.close()
    store = DaemonStore(path)
    with pytest.raises(StoreCorrupt, match="the entry of group 6666"):
        store.groups()
    with pytest.raises(StoreCorrupt):
        store.put_group(FRIENDS)
    store.close()
