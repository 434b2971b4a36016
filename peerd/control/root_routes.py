"""The routes about a group's root, and about what it signs elsewhere."""

from __future__ import annotations

from peerd.control import handlers, root_schema, schema
from peerd.control.access import Access
from peerd.control.route import GROUP_ERRORS, ISSUE_ERRORS, SIGN_ERRORS, STORE_ERRORS, Route

_KEYS = ("group-not-found", "ambiguous-name", "no-key-access", "passphrase-needed", "wrong-passphrase")
_FILE = ("draft-not-acceptable", "invalid-argument")

ROOT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/v1/groups/{group}/root",
        handlers.get_root,
        Access.READ,
        root_schema.Root,
        errors=GROUP_ERRORS,
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/rotate",
        handlers.rotate_root,
        Access.ADMIN,
        root_schema.RootRotated,
        body=root_schema.RootRotation,
        errors=(
            *GROUP_ERRORS,
            *SIGN_ERRORS,
            *_FILE,
            "already-exists",
            "no-effect",
            "root-changed",
            "signature-missing",
            "wrong-group",
        ),
        example=root_schema.RootRotation(recovery_keys=["-".join(["AAAA"] * 14)], dry_run=True),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/prepare",
        handlers.prepare_root_act,
        Access.ADMIN,
        root_schema.RootFile,
        body=root_schema.RootPreparation,
        errors=(
            *ISSUE_ERRORS,
            "already-exists",
            "draft-not-acceptable",
            "invalid-properties",
            "member-not-found",
            "no-effect",
            "root-changed",
            "wrong-group",
        ),
        example=root_schema.RootPreparation(key=True),
    ),
    Route(
        "POST",
        "/v1/root/sign",
        handlers.sign_root_file,
        Access.ADMIN,
        root_schema.RootFile,
        body=root_schema.RootSigning,
        errors=(
            *STORE_ERRORS,
            *_FILE,
            "no-key-access",
            "not-authorized",
            "passphrase-needed",
            "signature-missing",
            "wrong-passphrase",
        ),
        example=root_schema.RootSigning(file="koGh", dry_run=True),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/import",
        handlers.import_root_act,
        Access.ADMIN,
        root_schema.RootImported,
        body=root_schema.RootImport,
        errors=(
            *GROUP_ERRORS,
            *STORE_ERRORS,
            *_FILE,
            "no-effect",
            "not-authorized",
            "root-changed",
            "signature-missing",
            "wrong-group",
        ),
        example=root_schema.RootImport(file="koGh"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/protect",
        handlers.protect_root,
        Access.ADMIN,
        root_schema.RootKeys,
        body=root_schema.RootProtection,
        errors=(*_KEYS, *STORE_ERRORS, "invalid-argument"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/unlock",
        handlers.unlock_root,
        Access.ADMIN,
        root_schema.RootKeys,
        body=root_schema.RootUnlocking,
        errors=(*_KEYS, "invalid-argument"),
    ),
    Route(
        "POST",
        "/v1/groups/{group}/root/lock",
        handlers.lock_root,
        Access.ADMIN,
        root_schema.RootKeys,
        body=schema.Empty,
        errors=("group-not-found", "ambiguous-name"),
    ),
)
