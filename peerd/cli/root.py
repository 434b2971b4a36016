"""`peerd root …`: the keys at the top of a group, and what is done when they are lost or stolen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from shlex import quote

import click
import msgspec
from msgspec.structs import replace

from peerd.cli.passphrase import (
    needed_passphrase,
    new_passphrase,
    passphrase_option,
    stdin_is_terminal,
    typed,
    with_passphrase,
)
from peerd.cli.problems import EXIT_REFUSED
from peerd.cli.recovery import all_keys, delivery, recovery_files
from peerd.cli.removal import dry_run_option, yes_option
from peerd.cli.render import say
from peerd.cli.root_files import read_file, write_file
from peerd.cli.root_prepare import COUNT, over_rival_option, prepare
from peerd.cli.root_text import file_contents, imported_text, keys_text, root_text, rotated_text
from peerd.cli.session import Noun, Session, answer, examples, json_option, pass_session
from peerd.cli.values import STANDARD_STREAM, TIME, read_text
from peerd.control import root_schema, schema
from peerd.control.client import ApiError, Client
from peerd.control.limits import RECOVERY_TEXT_CHARACTERS_MAX
from peerd.printable import printable

HERE = "here"
_RECOVERY_FILE = "The file of a recovery key; - reads it from standard input, or asks a terminal. Repeatable."


@click.group(
    cls=Noun,
    epilog=examples(
        "peerd root show pizza",
        "peerd root rotate pizza --with pizza.key --recovery pizza-2.key --dry-run",
    ),
)
def root() -> None:
    """The root of a group: who holds it, and who replaces it.

    The root key admits the first administrators and sets the group's properties. If the machine that holds it
    is lost, or somebody steals the key, the recovery key makes another root: rotate.
    """


@root.command(epilog=examples("peerd root show pizza", "peerd root show pizza --json"))
@click.argument("group")
@json_option
@pass_session
def show(session: Session, group: str, as_json: bool) -> None:
    """Show a group's root: its keys, and the roots before it.

    HERE tells which of the keys are on this node, AGREED whether the root before agreed to be replaced.
    """
    with session.client() as client:
        found = client.root(group)
    answer(found, lambda: root_text(found), as_json=as_json)


# --- replacing ----------------------------------------------------------------------------------------------


@root.command(
    epilog=examples(
        "peerd root rotate pizza --with pizza.key --recovery pizza-2.key",
        "peerd root rotate pizza --with pizza-2.key --recovery pizza-3.key --without 7c02 --dry-run",
        "peerd root rotate pizza --with pizza.key --recovery next.key --key here --key b.root --threshold 2",
    )
)
@click.argument("group")
@click.option("--with", "recovered", multiple=True, required=True, metavar="FILE", help=_RECOVERY_FILE)
@click.option(
    "--recovery",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new file for the next recovery key; without it the terminal shows the key, and --json holds it.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE",
    help="A key of the new root, from a file that its machine has signed; “here” makes one on this node, as"
    " is done without any. Repeatable.",
)
@click.option("--threshold", type=COUNT, default=1, show_default=True, help="How many of the keys it takes.")
@click.option(
    "--recovery-keys", type=COUNT, default=1, show_default=True, help="How many next recovery keys."
)
@click.option(
    "--recovery-threshold", type=COUNT, default=1, show_default=True, help="How many of those it will take."
)
@click.option(
    "--without",
    multiple=True,
    metavar="ACT",
    help="Let an act of the old root, and all that follows it in its chain, count no more. Repeatable.",
)
@click.option(
    "--keep-until", type=TIME, metavar="TIME", help="Let nothing count that the old root has dated later."
)
@over_rival_option
@click.option("--protect", is_flag=True, help="Put the key that is made here under a new passphrase.")
@passphrase_option
@click.option(
    "--trust-clock", is_flag=True, help="Sign although this machine's clock is far behind the group's acts."
)
@dry_run_option
@yes_option
@json_option
@pass_session
def rotate(
    session: Session,
    group: str,
    recovered: tuple[str, ...],
    recovery: Path | None,
    keys: tuple[str, ...],
    threshold: int,
    recovery_keys: int,
    recovery_threshold: int,
    without: tuple[str, ...],
    keep_until: datetime | None,
    over_rival: bool,
    protect: bool,
    from_stdin: bool,
    trust_clock: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Replace the root with the recovery key that was put away.

    Any member's node can do it: nothing of the old root is needed, and its holder cannot undo it. What the
    old root has signed goes on counting, but for --without and --keep-until: a thief's acts are named there,
    as `peerd audit` lists them. Each root has a new recovery key; the one used is used up.
    """
    wish = root_schema.RootRotation(
        recovery_keys=recovery_texts(recovered),
        keys=[read_file(file) for file in keys if file != HERE],
        key_here=HERE in keys,
        threshold=threshold,
        without=list(without),
        keep_until=keep_until,
        over_rival=over_rival,
        trust_clock=trust_clock,
    )
    with session.client() as client:
        if dry_run or (not yes and not as_json and stdin_is_terminal()):
            tried = client.rotate_root(group, replace(wish, dry_run=True))
            if dry_run:
                answer(tried, lambda: rotated_text(tried), as_json=as_json)
                return 0
            say(rotated_text(tried))
            if not click.confirm("Replace the root?", err=True):
                say("Nothing was signed.")
                return EXIT_REFUSED
        if protect:
            wish = replace(wish, new_passphrase=new_passphrase(from_stdin=from_stdin))
        draw = root_schema.RecoveryDraw(keys=recovery_keys, threshold=recovery_threshold)
        with delivery(recovery, group, as_json=as_json, owner="new root", keys=draw.keys) as deliver:
            drawn = client.make_recovery_key(draw)
            deliver(drawn)
            done = client.rotate_root(
                group, replace(wish, recovery_token=drawn.recovery_token, recovery_delivered=True)
            )
    _tell_rotated(done, drawn, recovery, as_json=as_json)
    return 0


def _tell_rotated(
    done: root_schema.RootRotated, drawn: schema.RecoveryKey, recovery: Path | None, *, as_json: bool
) -> None:
    reply: dict[str, object] = msgspec.structs.asdict(done)
    if recovery is None:
        reply |= {"recovery_key": drawn.recovery_key, "recovery_keys": all_keys(drawn)}
        reply["recovery_set"] = drawn.recovery_set
    try:
        answer(reply, lambda: rotated_text(done), as_json=as_json)
    except OSError:
        if recovery is None:
            for key in all_keys(drawn):
                say(f"A recovery key of the new root: {key}")  # nobody will see it again
        raise
    if recovery is not None and not as_json:
        files = [str(file) for file in recovery_files(recovery, len(all_keys(drawn)))]
        if len(files) == 1:
            say(f"The next recovery key is in {files[0]}. Keep it away from this machine.")
        else:
            say(f"The next recovery keys are in {', '.join(files)}. Keep each in a place of its own.")
    if done.unprotected:
        say(f"The new root key is under no passphrase: peerd root protect {quote(done.group)}")


def recovery_texts(files: Sequence[str]) -> list[str]:
    """Recovery keys as they stand in files, on standard input, or on paper before somebody who types."""
    return [
        typed("Recovery key")
        if file == STANDARD_STREAM and stdin_is_terminal()
        else read_text(file, RECOVERY_TEXT_CHARACTERS_MAX)
        for file in files
    ]


# --- keys that are elsewhere --------------------------------------------------------------------------------


root.add_command(prepare)


@root.command(
    epilog=examples(
        "peerd root sign bob.root",
        "peerd root sign next.root --with pizza.key --yes",
        "peerd root sign new-key.root --protect",
    )
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with", "recovered", multiple=True, metavar="FILE", help=_RECOVERY_FILE)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the signed file goes; without it, into the same file.",
)
@click.option("--protect", is_flag=True, help="Put the key that is made here under a new passphrase.")
@passphrase_option
@yes_option
@json_option
@pass_session
def sign(
    session: Session,
    file: Path,
    recovered: tuple[str, ...],
    out: Path | None,
    protect: bool,
    from_stdin: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Sign a file with the root keys on this node.

    A file that asks for a new key has it made here. What is signed is shown first, and asked on a terminal.
    This node need not know the group.
    """
    wish = root_schema.RootSigning(file=read_file(str(file)), recovery_keys=recovery_texts(recovered))
    with session.client() as client:
        if not yes and not as_json and stdin_is_terminal():
            say(file_contents(client.sign_root_file(replace(wish, dry_run=True))))
            if not click.confirm("Sign this?", err=True):
                say("Nothing was signed.")
                return EXIT_REFUSED
        if protect:
            wish = replace(wish, new_passphrase=new_passphrase(from_stdin=from_stdin))
        signed = with_passphrase(
            lambda passphrase: client.sign_root_file(replace(wish, passphrase=passphrase)),
            from_stdin=from_stdin and not protect,
        )
    write_file(out or file, signed)
    answer(signed, lambda: file_contents(signed), as_json=as_json)
    return 0


@root.command("import", epilog=examples("peerd root import pizza bob.root"))
@click.argument("group")
@click.argument("file")
@json_option
@pass_session
def import_(session: Session, group: str, file: str, as_json: bool) -> None:
    """Publish in the group what all its keys have signed."""
    wish = root_schema.RootImport(file=read_file(file))
    with session.client() as client:
        done = client.import_root_act(group, wish)
    answer(done, lambda: imported_text(done), as_json=as_json)


# --- passphrases --------------------------------------------------------------------------------------------


@root.command(
    epilog=examples("peerd root protect pizza", "peerd root protect pizza --off --passphrase-stdin < secret")
)
@click.argument("group")
@click.option("--off", is_flag=True, help="Take the passphrase off.")
@click.option(
    "--passphrase-stdin",
    "from_stdin",
    is_flag=True,
    help="Take from lines of standard input: the passphrase of now, if there is one, and the new one.",
)
@json_option
@pass_session
def protect(session: Session, group: str, off: bool, from_stdin: bool, as_json: bool) -> None:
    """Put the group's root keys on this node under a passphrase, or change it.

    A file with the key is then of no use to whoever copies it. The key is locked until it is unlocked, or the
    passphrase is given with a command.
    """
    with session.client() as client:
        if from_stdin:
            lines = read_text(STANDARD_STREAM, RECOVERY_TEXT_CHARACTERS_MAX).splitlines()
            wish = _protection(lines, off=off)
            kept = client.protect_root(group, wish)
        else:
            kept = _protect_by_hand(client, group, off=off)
    answer(kept, lambda: keys_text(kept.keys), as_json=as_json)
    if not as_json:
        state = "under no passphrase" if off else "under the new passphrase, and locked"
        say(f"The root keys on this node are {state}.")


def _protection(lines: Sequence[str], *, off: bool) -> root_schema.RootProtection:
    if off and len(lines) == 1:
        return root_schema.RootProtection(passphrase=lines[0])
    if not off and 1 <= len(lines) <= 2:
        return root_schema.RootProtection(
            passphrase=lines[0] if len(lines) == 2 else None, new_passphrase=lines[-1]
        )
    raise click.UsageError(
        "Standard input holds the passphrase of now in one line, if there is one, and the new one in another."
    )


def _protect_by_hand(client: Client, group: str, *, off: bool) -> root_schema.RootKeys:
    wish = root_schema.RootProtection(new_passphrase=None if off else new_passphrase(from_stdin=False))
    try:
        return client.protect_root(group, wish)
    except ApiError as error:
        if error.slug != "passphrase-needed":
            raise
    if not stdin_is_terminal():
        raise click.UsageError("The keys are under a passphrase: give it with --passphrase-stdin.")
    return client.protect_root(group, replace(wish, passphrase=typed("Passphrase of now")))


@root.command(
    epilog=examples("peerd root unlock pizza", "peerd root unlock pizza --passphrase-stdin < secret")
)
@click.argument("group")
@passphrase_option
@json_option
@pass_session
def unlock(session: Session, group: str, from_stdin: bool, as_json: bool) -> None:
    """Open the root keys on this node, until they are locked or it stops."""
    wish = root_schema.RootUnlocking(passphrase=needed_passphrase(from_stdin=from_stdin))
    with session.client() as client:
        kept = client.unlock_root(group, wish)
    answer(kept, lambda: keys_text(kept.keys), as_json=as_json)


@root.command(epilog=examples("peerd root lock pizza"))
@click.argument("group")
@json_option
@pass_session
def lock(session: Session, group: str, as_json: bool) -> None:
    """Let the root keys on this node need their passphrase again."""
    with session.client() as client:
        kept = client.lock_root(group)
    answer(kept, lambda: keys_text(kept.keys), as_json=as_json)
    if not as_json and any(one.held and not one.sealed for one in kept.keys):
        say(f"A key without a passphrase cannot be locked: peerd root protect {printable(group)}")
