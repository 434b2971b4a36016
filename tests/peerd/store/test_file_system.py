from __future__ import annotations

from pathlib import Path

import pytest

from peerd.errors import ConfigError
from peerd.store.file_system import file_system_type, refuse_network_file_system

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:28 / /home rw - autofs systemd-1 rw,fd=36
45 30 0:51 / /home rw,relatime shared:2 master:3 - nfs4 server:/home rw,vers=4.2
46 22 0:52 / /mnt/two\040words rw - cifs //server/share rw
47 22 0:53 / /mnt/remote rw - fuse.sshfs user@server:/ rw
48 22 0:54 / /mnt/local rw - fuse.gocryptfs /plain rw
49 45 0:55 / /home/me/disk rw - btrfs /dev/vdb rw
a line that means nothing
"""


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/", "ext4"),
        ("/var/lib/peerd", "ext4"),
        ("/homely", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/.local/share/peerd", "nfs4"),
        ("/home/me/disk/peerd", "btrfs"),
        ("/mnt/two words/peerd", "cifs"),
        ("/mnt/remote/x", "fuse.sshfs"),
        ("/mnt/local/x", "fuse.gocryptfs"),
    ],
)
def test_longest_and_latest_mount_that_covers_a_path_counts(path, kind):
    assert file_system_type(TABLE, path) == kind


def test_path_without_a_mount_has_no_type():
    assert file_system_type("", "/home") is None


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "ceph", "9p", "fuse.sshfs"]
)
def test_network_file_systems_are_refused_by_name(tmp_path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(
        f"22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:1 / {tmp_path} rw - {kind} server:/ rw\n"
    )
    with pytest.raises(ConfigError) as caught:
        refuse_network_file_system(tmp_path / "home", table)
    assert caught.value.code == "network-file-system"
    assert kind in caught.value.detail
    assert "--home" in caught.value.hint


def test_link_into_a_network_is_seen_through(tmp_path):
    table = tmp_path / "mountinfo"
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    table.write_text(f"23 22 0:1 / {tmp_path / 'far'} rw - nfs server:/ rw\n")
    with pytest.raises(ConfigError):
        refuse_network_file_system(tmp_path / "near", table)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.gocryptfs"])
def test_local_file_systems_are_taken(tmp_path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(f"23 22 0:1 / {tmp_path} rw - {kind} source rw\n")
    refuse_network_file_system(tmp_path, table)


def test_without_a_mount_table_nothing_is_refused(tmp_path):
    refuse_network_file_system(tmp_path, tmp_path / "missing")


def test_this_machine_is_taken(tmp_path):
    refuse_network_file_system(Path(tmp_path))
