"""What a user can see of a group's members and of its acts."""

from __future__ import annotations

from peerd.control import schema
from peerd.groups.credential_cases import pid_of
from peerd.groups.paging import page_of
from peerd.groups.registry import Registry
from peerd.groups.rendering import act, credential, member
from protocol.authority.act_set import ActSet
from protocol.authority.acts import Act, decode_untrusted_act
from protocol.authority.elements import stored_is_der


class MemberCases:
    """Members and acts of the open groups."""

    def __init__(self, registry: Registry) -> None:
        """Finds groups in the registry."""
        self._registry = registry

    async def members(self, group: str, query: schema.Page) -> schema.Members:
        """One page of members, by peer name."""
        opened = self._registry.ready(group)

        def read(_: ActSet) -> schema.Members:
            at_s = self._registry.environment.clock.moment().utc_s
            pids = [
                (opened.machine.members.view.name_of(pid), pid)
                for pid in opened.machine.members.view.subjects()
            ]
            part, following = page_of(sorted(pids), lambda one: one[0], query)
            own = self._own()
            members = [member(opened.machine, opened.entry.group_name, pid, own, at_s) for _, pid in part]
            return schema.Members(members=members, next=following)

        return await opened.node.runner.ask(read)

    async def member(self, group: str, name: str) -> schema.MemberCredentials:
        """One member and all its credentials, the latest first."""
        opened = self._registry.ready(group)

        def read(_: ActSet) -> schema.MemberCredentials:
            view, group_name = opened.machine.members.view, opened.entry.group_name
            at_s = self._registry.environment.clock.moment().utc_s
            pid = pid_of(view, name)
            grants = sorted(view.live_grants(pid), key=lambda grant: (grant.hlc, grant.act_id), reverse=True)
            return schema.MemberCredentials(
                member=member(opened.machine, group_name, pid, self._own(), at_s),
                credentials=[credential(view, group_name, grant, at_s) for grant in grants],
            )

        return await opened.node.runner.ask(read)

    async def acts(self, group: str, query: schema.Page) -> schema.Acts:
        """One page of acts, in the order of their arrival here."""
        opened = self._registry.ready(group)

        def read(store: ActSet) -> schema.Acts:
            view = opened.machine.members.view
            numbered = [(f"{place:012d}", act_id) for place, act_id in enumerate(view.act_ids())]
            part, following = page_of(numbered, lambda one: one[0], query)
            return schema.Acts(
                acts=[act(view, _read_act(store, act_id)) for _, act_id in part], next=following
            )

        return await opened.node.runner.ask(read)

    def _own(self) -> frozenset[bytes]:
        return frozenset(identity.key.pid for identity in self._registry.identities.all())


def _read_act(store: ActSet, act_id: bytes) -> Act:
    raw = store.get(act_id)
    assert raw is not None
    assert not stored_is_der(raw)
    return decode_untrusted_act(raw)
