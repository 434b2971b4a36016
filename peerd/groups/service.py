"""The use cases of the control API, put together."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache

from peerd import VERSION
from peerd.control import schema
from peerd.control.schema import time_at_ms
from peerd.groups.credential_cases import CredentialCases
from peerd.groups.event_log import GroupEvents
from peerd.groups.explaining import WhyCases
from peerd.groups.export import ExportCases
from peerd.groups.group_cases import GroupCases
from peerd.groups.identity_cases import IdentityCases
from peerd.groups.member_cases import MemberCases
from peerd.groups.record_cases import RecordCases
from peerd.groups.recoveries import Recoveries
from peerd.groups.registry import Registry
from peerd.groups.removal_cases import RemovalCases
from peerd.groups.root_carrying import RootCarrying
from peerd.groups.root_cases import RootCases
from peerd.groups.summary import Summaries
from peerd.paths import Home
from peerd.store.database import sqlite_version
from protocol.authority.act_set import ActStore

_LIBRARIES = ("trio", "cryptography", "msgpack", "pyOpenSSL", "msgspec", "h11")
API_EXTENSIONS: tuple[str, ...] = ("records", "search", "export", "removal", "why", "root")
_CURSOR_NAME_BYTES = 8  # of a node id: enough to tell the logs of one node apart in a cursor


class Service(
    IdentityCases,
    GroupCases,
    CredentialCases,
    MemberCases,
    RemovalCases,
    RootCases,
    RootCarrying,
    RecordCases,
    WhyCases,
    ExportCases,
):
    """Everything that a caller can ask of this daemon; see `peerd.control.operations.Operations`."""

    def __init__(self, registry: Registry, home: Home) -> None:
        """One service for the whole daemon."""
        self._summaries = Summaries(registry)
        IdentityCases.__init__(self, registry)
        recoveries = Recoveries(registry.environment)
        GroupCases.__init__(self, registry, self._summaries, recoveries)
        CredentialCases.__init__(self, registry)
        MemberCases.__init__(self, registry)
        RemovalCases.__init__(self, registry)
        RootCases.__init__(self, registry, recoveries)
        RootCarrying.__init__(self, registry, recoveries)
        RecordCases.__init__(self, registry)
        WhyCases.__init__(self, registry, self._find)
        ExportCases.__init__(self, registry)
        self._home = home
        self._started_ms = registry.environment.clock.moment().utc_ms
        self._events = GroupEvents(self._stores)

    def _stores(self) -> Mapping[str, tuple[str, ActStore]]:
        groups = self._registry.open_groups()
        return {
            group.machine.node_id[:_CURSOR_NAME_BYTES].hex(): (group.entry.group_name, group.store)
            for group in groups
        }

    @property
    def events(self) -> GroupEvents:
        """The committed events of all open groups."""
        return self._events

    def api(self) -> schema.Api:
        """Which daemon this is."""
        return schema.Api(
            version=VERSION,
            api_extensions=list(API_EXTENSIONS),
            pid=os.getpid(),
            started=time_at_ms(self._started_ms),
        )

    async def groups(self) -> schema.Groups:
        """All groups."""
        return schema.Groups(groups=await self._summaries.all())

    async def group(self, name: str) -> schema.Group:
        """One group."""
        return await self._summaries.of(name)

    async def status(self) -> schema.Status:
        """The daemon at a glance."""
        cursor = (
            self._events.end()
        )  # first, so that who reads on from it misses nothing that is not told here
        health = await self.health()
        return schema.Status(
            version=VERSION,
            pid=os.getpid(),
            started=time_at_ms(self._started_ms),
            home=str(self._home.directory),
            addresses=list(self._registry.environment.listens),
            versions=dict(_versions()),
            health=health.health,
            findings=health.findings,
            identities=len(self._registry.identities.all()),
            groups=await self._summaries.all(),
            cursor=cursor,
        )

    async def health(self) -> schema.Health:
        """Whether all is well."""
        findings = await self._summaries.findings()
        return schema.Health(health="degraded" if findings else "healthy", findings=findings)

    async def metrics(self) -> bytes:
        """The figures in Prometheus' text format, version 0.0.4."""
        return _metrics(await self._summaries.all())


@cache
def _versions() -> Mapping[str, str]:
    """What this daemon runs on, read from the libraries' files when first asked for."""
    from importlib.metadata import version

    found = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "sqlite": sqlite_version(), **found}


def _metrics(groups: Sequence[schema.Group]) -> bytes:
    """One registry for each answer, so that a group which is gone leaves no figure behind."""
    # Loaded when first asked for: it brings an HTTP server along, a tenth of a daemon's start.
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    gauges = {
        name: Gauge(f"peerd_{name}", text, ["group"], registry=registry)
        for name, text in (
            ("neighbors", "Live links of the group"),
            ("members", "Members whose credential is valid now"),
            ("acts", "Acts in the replicated set"),
            ("records", "Versions of records in the replicated set"),
            (
                "credential_end_seconds",
                "When our own credential ends, in seconds since 1970 UTC; 0 without one",
            ),
        )
    }
    for group in groups:
        end = 0.0
        if group.credential is not None:
            end = (
                float("inf") if group.credential.not_after is None else group.credential.not_after.timestamp()
            )
        gauges["neighbors"].labels(group.group).set(len(group.neighbors))
        gauges["members"].labels(group.group).set(group.members)
        gauges["acts"].labels(group.group).set(group.acts)
        gauges["records"].labels(group.group).set(group.records)
        gauges["credential_end_seconds"].labels(group.group).set(end)
    return generate_latest(registry)
