"""Refuses file systems on which a database and its locks cannot be trusted.

SQLite's log needs memory shared by all who have the file open, and the home's lock needs to hold everywhere.
Neither is so on a file system that other machines can mount. The table of mounts is asked and not statfs(2):
its names tell one FUSE file system from another, and it needs no layout of a C structure.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from peerd.errors import ConfigError

MOUNT_TABLE = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "kafs", "lustre",
        "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs",
        "fuse.ceph", "fuse.curlftpfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs", "fuse.moosefs",
        "fuse.mfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.weed",
    }
)  # fmt: skip


def refuse_network_file_system(directory: Path, mount_table: Path = MOUNT_TABLE) -> None:
    """Refuse a directory that lies on a network. Raises: ConfigError("network-file-system").

    Where the system has no such table nothing is known, and nothing is refused.
    """
    try:
        table = os.fsdecode(mount_table.read_bytes())
    except OSError:
        return
    kind = file_system_type(table, os.path.realpath(directory))
    if kind in NETWORK_TYPES:
        raise ConfigError(
            f"{directory} lies on a network file system ({kind}), where writes and locks are not safe",
            code="network-file-system",
            hint="choose a home on a disk of this machine: peerd --home DIR …",
        )


def file_system_type(table: str, path: str) -> str | None:
    """The type of the file system that holds an absolute path without links, None when no mount covers it.

    `table` has the form of proc(5), "/proc/pid/mountinfo". Of two mounts on one place the later one counts.
    """
    best, kind = "", None
    for line in table.splitlines():
        fields, separator, after = line.partition(" - ")
        words, described = fields.split(" "), after.split(" ")
        if not separator or len(words) < 5:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), words[4])
        covers = path == point or path.startswith(point.rstrip("/") + "/")
        if covers and len(point) >= len(best):
            best, kind = point, described[0]
    return kind


_OCTAL = re.compile(r"\\([0-7]{3})")
