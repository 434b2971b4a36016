"""The bench of authority makes the group that it says, and all of it counts until the creator is revoked."""

from __future__ import annotations

from protocol.authority.view import View
from scripts.bench import authority


def test_large_group_is_as_large_as_asked_for_and_all_of_it_is_effective():
    acts, admins = authority.large_group(300)
    view = View(acts.gid)
    for act, admitted in acts.pairs:
        view.add(act, admitted)
    assert len(view) == 300
    assert all(view.is_effective(act_id) for act_id in view.act_ids())
    assert {grant.level for grant in admins} == {1, 2, 3, 4}


def test_rows_tell_of_the_worst_case():
    rows = authority.rows(200)
    assert any("worst case" in row.what for row in rows)
    assert any("one GRANT more" in row.what for row in rows)
