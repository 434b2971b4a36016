"""The daemon: builds every part, connects them, runs them, ends them in order. Nobody imports it but what
starts it.

Start: the home's lock, the stores, all groups with their authority data; only then the listener and the
control socket. What cannot be read ends the start, so that no node listens whose revocations or root it does
not know. End (SIGTERM or SIGINT): take nothing new, say goodbye to subscribers and neighbors, let what was
acknowledged be on disk.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import trio

from peerd import VERSION, logs
from peerd.clock import Clock
from peerd.control.events import EventBell
from peerd.control.server import ControlServer, listening_socket
from peerd.errors import ConfigError, PeerdError
from peerd.gossip.checking import CheckingProcesses, cores_here, processes_for, worker_command
from peerd.gossip.listening import Reception
from peerd.gossip.offload import in_thread
from peerd.groups.environment import Environment
from peerd.groups.registry import Registry
from peerd.groups.service import Service
from peerd.identities import Identities
from peerd.paths import Home
from peerd.root_keys import RootKeys, read_passphrases
from peerd.store.daemon_store import DaemonStore
from peerd.store.lock import HomeLock
from peerd.supervisor import notify
from peerd.transport.dialer import dial
from peerd.transport.listener import Listener
from protocol.errors import RuleError

log = logging.getLogger(__name__)

STOP_S_MAX = 4  # promise P40, as amended, gives 5 seconds in all
THREAD_SWITCH_S = 0.0001  # about what one signature takes to check


def run(
    home: Home, *, listen: Sequence[str], log_level: str, log_format: str, unlock: Sequence[Path] = ()
) -> int:
    """Run the daemon of one home until SIGTERM or SIGINT; returns the exit code. `unlock` are files with the
    passphrases of root keys.

    Raises: PeerdError when it cannot start, or when its data can no longer be trusted.
    """
    logs.configure(log_level, log_format, sys.stderr)
    # Who checks signatures needs Python between two of them, and would wait 5 ms for a loop that is at work.
    sys.setswitchinterval(THREAD_SWITCH_S)
    home.make()
    with ExitStack() as stack:
        stack.enter_context(HomeLock(home.lock))
        catalogue = DaemonStore(home.daemon_database)
        stack.callback(catalogue.close)
        identities, root_keys = Identities(home.identities), RootKeys(home.root_keys)
        _unlock(root_keys, unlock)
        try:
            trio.run(_main, home, catalogue, identities, root_keys, tuple(listen))
        except BaseExceptionGroup as group:
            raise _reason(group) from group
    return 0


def _unlock(root_keys: RootKeys, files: Sequence[Path]) -> None:
    """Open the locked root keys with the passphrases in these files. Raises: ConfigError, NotFound,
    StoreError.
    """
    if not files:
        return
    opened, locked = root_keys.unlock_all([line for path in files for line in read_passphrases(path)])
    if locked and not opened:
        raise ConfigError(
            "none of the passphrases opens a root key in this home", hint="start without --unlock: peerd run"
        )
    if locked:
        log.warning("root keys stay locked", extra={"reason": f"{locked} of {opened + locked}"})


def _reason(error: BaseException) -> BaseException:
    """Why the daemon ended: of what failed in several tasks, what a person can do something about."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    reasons = [_reason(one) for one in error.exceptions]
    return next((one for one in reasons if isinstance(one, PeerdError)), reasons[0])


async def _main(
    home: Home, catalogue: DaemonStore, identities: Identities, root_keys: RootKeys, listen: tuple[str, ...]
) -> None:
    bell = EventBell()
    check = CheckingProcesses(in_thread, processes_max=processes_for(cores_here()), command=worker_command())
    environment = Environment(Clock(), in_thread, check, dial, secrets.token_bytes)
    registry = Registry(home, catalogue, identities, root_keys, environment, bell.ring)
    try:
        await registry.open_all()
        gc.freeze()  # what is here stays: to look through it for garbage would hold the loop for 30 ms
        await _serve(home, registry, check, bell, listen)
    finally:
        registry.close()


async def _serve(
    home: Home, registry: Registry, check: CheckingProcesses, bell: EventBell, listen: tuple[str, ...]
) -> None:
    """Listen, answer and gossip until a signal says to stop."""
    environment = registry.environment
    listener = Listener()
    environment.listens = await _bind(listener, listen)
    reception = Reception(
        registry.nodes, clock=environment.clock, offload=environment.offload, draw=environment.draw
    )
    control = ControlServer(Service(registry, home), bell)
    with (
        listening_socket(home.control_socket) as control_socket,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(check.run)
            await nursery.start(registry.serve)
            nursery.start_soon(listener.serve, reception.receive)
            nursery.start_soon(control.serve, control_socket)
            _say_ready(home, environment.listens)
            number = await anext(signals)
            log.info("stopping", extra={"reason": signal.Signals(number).name})
            await _stop(registry, control)
            nursery.cancel_scope.cancel()


async def _bind(listener: Listener, addresses: Sequence[str]) -> tuple[str, ...]:
    try:
        return await listener.bind(addresses)
    except RuleError as error:
        raise ConfigError(
            error.detail, hint=error.hint or "--listen HOST:PORT, for example 127.0.0.1:0"
        ) from None


def _say_ready(home: Home, listens: Sequence[str]) -> None:
    where = ", ".join(listens) or "nobody can dial this node; add --listen HOST:PORT"
    print(f"ready pid {os.getpid()}, control {home.control_socket}, listening: {where}", flush=True)  # noqa: T201
    notify(f"READY=1\nSTATUS=peerd {VERSION}, listening: {where}")


async def _stop(registry: Registry, control: ControlServer) -> None:
    notify("STOPPING=1")
    control.stop()
    with trio.move_on_after(STOP_S_MAX):
        await registry.stop()
        await control.ended()
