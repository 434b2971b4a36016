"""How people see a group's root, and the files that go to its keys."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from peerd.cli.render import Name, count_of, details, table, time_text, yes_or_no
from peerd.control import root_schema, schema

_WHAT = {
    "key-wanted": "a new root key is wanted",
    "root-key": "a root key that was made",
    "root-act": "something for root keys to sign",
}


def root_text(one: root_schema.Root) -> str:
    """The root as it is, its keys, and the roots before it."""
    signing = sum(key.operating for key in one.keys)
    parts = [
        details(
            {
                "group": one.group,
                "root version": str(one.version),
                "made by act": one.act_id,
                "signs": f"{one.threshold} of {count_of(signing, 'key', 'keys')}",
                "rivals": ", ".join(one.rivals) or None,
            }
        ),
        keys_text(one.keys),
        table(
            ["VERSION", "SINCE", "KEYS", "AGREED", "ACT"],
            [
                [
                    str(version.version),
                    time_text(version.time),
                    f"{version.threshold} of {len(version.operating)}",
                    "-" if version.version == 1 else yes_or_no(version.cosigned),
                    Name(version.act_id),
                ]
                for version in one.history
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def keys_text(keys: Sequence[root_schema.RootKey]) -> str:
    """Keys, and which of them are here."""
    return table(
        ["KEY", "SIGNS", "HERE", "PASSPHRASE"],
        [
            [
                Name(key.key_id),
                yes_or_no(key.operating),
                yes_or_no(key.held),
                "locked" if key.locked else "unlocked" if key.sealed else "none" if key.held else "-",
            ]
            for key in keys
        ],
    )


def rotated_text(one: root_schema.RootRotated) -> str:
    """What a rotation did, or would do."""
    dry = one.act_id is None
    parts = [
        details(
            {
                "group": one.group,
                "would be root version" if dry else "root version": str(one.version),
                "act id": one.act_id,
                "signatures needed": str(one.threshold),
                "agreed by the old root": yes_or_no(one.cosigned),
                "members lost": ", ".join(one.members_lost) or "none",
            }
        )
    ]
    if one.credentials:
        parts.append(credentials_table(one.credentials))
    return "\n\n".join(parts)


def file_contents(one: root_schema.RootFile) -> str:
    """What is in a file that goes to a root key."""
    return details(
        {
            "file": _WHAT[one.what],
            "group": one.group,
            **contents_said(one),
            "signed now": ", ".join(one.signed_now) or None,
            "still to sign": ", ".join(one.missing) or None,
            "next": _next(one),
        }
    )


def contents_said(one: root_schema.RootFile) -> dict[str, str]:
    """What a file says of itself, in the words that are shown."""
    plain = {name: value for name, value in one.contents.items() if name not in ("group", "signers", "wants")}
    wants = one.contents.get("wants")
    found = {**plain, **(wants if isinstance(wants, dict) else {})}
    said = {name.replace("_", " "): _said(value) for name, value in found.items()}
    return {name: text for name, text in said.items() if text is not None}


def _said(value: object) -> str | None:
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return yes_or_no(value)
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return str(value)


def _next(one: root_schema.RootFile) -> str:
    if one.what == "root-key":
        return f"peerd root rotate {quote(one.group)} --with RECOVERY --key FILE"
    if one.what == "root-act" and not one.missing:
        return f"peerd root import {quote(one.group)} FILE"
    return "peerd root sign FILE, on the machine of a key"


def imported_text(one: root_schema.RootImported) -> str:
    """What an imported file brought."""
    parts = [
        details(
            {
                "group": one.group,
                "acts": ", ".join(one.act_ids),
                "new": yes_or_no(one.fresh),
                "root version": None if one.version is None else str(one.version),
            }
        )
    ]
    if one.credentials:
        parts.append(credentials_table(one.credentials))
    return "\n\n".join(parts)


def credentials_table(credentials: Sequence[schema.Credential]) -> str:
    """Credentials whose standing has changed."""
    return table(
        ["GRANT ID", "SUBJECT", "ROLES", "NOT AFTER", "ISSUER"],
        [
            [
                Name(one.grant_id),
                Name(one.subject),
                ", ".join(one.roles),
                time_text(one.not_after),
                Name(one.issuer),
            ]
            for one in credentials
        ],
    )
