"""The files that are carried to a root key and back: text, so that they survive mail and notebooks.

Lines that begin with `#` say to people what it is, and are not read; the rest is base64url. Nothing in them
is secret, and nothing outside the base64url is signed: what is asked of a key is told by the daemon that
signs, from the bytes.
"""

from __future__ import annotations

from pathlib import Path

import click

from peerd.cli.root_text import contents_said
from peerd.cli.values import read_text
from peerd.control import root_schema
from peerd.paths import replace_durably
from peerd.printable import printable

FILE_CHARACTERS_MAX = 128 * 1024
_LINE_CHARACTERS = 76

_SAID = {
    "key-wanted": "This file asks for a new root key of the peerd group",
    "root-key": "This file introduces a new root key of the peerd group",
    "root-act": "This file holds what root keys are to sign for the peerd group",
}
_NEXT = {
    "key-wanted": "On the machine that is to hold the key: peerd root sign FILE",
    "root-key": "On the machine of a member: peerd root rotate GROUP --with RECOVERY --key FILE",
    "root-act": "On the machine of each key: peerd root sign FILE; then: peerd root import GROUP FILE",
}


def file_text(one: root_schema.RootFile) -> str:
    """What stands in the file."""
    notes = [
        f"{_SAID[one.what]} {printable(one.group)}.",
        _NEXT[one.what],
        *(f"{name}: {printable(said)}" for name, said in contents_said(one).items()),
        *(f"still to sign: key {key}" for key in one.missing),
    ]
    return "".join([*(f"# {note}\n" for note in notes), *(f"{line}\n" for line in _lines(one.file))])


def write_file(path: Path, one: root_schema.RootFile) -> None:
    """Put it into a file, in the place of what is there. Raises: StoreError."""
    replace_durably(path, file_text(one).encode())


def read_file(file: str) -> str:
    """The base64url in a file, or of standard input for `-`. Raises: UsageError."""
    lines = [line.strip() for line in read_text(file, FILE_CHARACTERS_MAX).splitlines()]
    text = "".join(line for line in lines if not line.startswith("#"))
    if not text:
        raise click.UsageError(f"The file {file} holds nothing that peerd has written.")
    return text


def _lines(text: str) -> list[str]:
    return [text[start : start + _LINE_CHARACTERS] for start in range(0, len(text), _LINE_CHARACTERS)]
