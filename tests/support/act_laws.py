"""The invariants I1 to I17 of authority, each a function that looks at one set and raises when it is broken.

A law takes the set of a seed and the source of its further choices, and returns whether the set had a case
for it. I15 reads here: no count ever drops an effective act. I16 is the simulator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

from protocol.authority.acts import Act
from protocol.authority.bodies import (
    AnnulBody,
    GrantBody,
    Kind,
    PropertiesBody,
    ResignBody,
    RevokeCredentialBody,
    RevokeKeyBody,
)
from protocol.authority.grants import Grant
from protocol.authority.rotation import kept_by
from protocol.authority.view import View
from protocol.ids import split_ids
from protocol.limits import LEVEL_ADMIN_MAX, LEVEL_ROOT
from tests.support.act_oracle import Outcome, outcome_of, records, told_outcome
from tests.support.act_sets import (
    GID,
    KEYS,
    Maker,
    Pair,
    heads_in,
    root_keys,
    second_of,
    shuffled,
    view_of_pairs,
)
from tests.support.keys import named

Law = Callable[[Random, list[Pair]], bool]
_REVOCATIONS = (Kind.REVOKE_CREDENTIAL, Kind.REVOKE_KEY)


def told(pairs: Sequence[Pair]) -> Outcome:
    """What a fresh view says of a set."""
    return told_outcome(view_of_pairs(pairs), pairs)


def closure(pairs: Sequence[Pair], start: Iterable[Act], *, heads: bool = True) -> list[Pair]:
    """Those of a set that some acts need: by `prev` and `cred`, and by the heads of `keep`."""
    acts, found, waiting = {act.id: act for act, _ in pairs}, set[bytes](), [act.id for act in start]
    while waiting:
        act_id = waiting.pop()
        if act_id in acts and act_id not in found:
            found.add(act_id)
            place = acts[act_id].place
            waiting += [one for one in (place.prev, place.cred) if one is not None]
            waiting += heads_in(acts[act_id]) if heads else ()
    return [pair for pair in pairs if pair[0].id in found]


def made(maker: Maker, before: Sequence[Pair]) -> list[Pair]:
    """A set with what a maker has added to it since."""
    old = {act.id for act, _ in before}
    new = [act for act in maker.acts if act.id not in old and act.id in maker.known.acts]
    return [*before, *((act, maker.known.acts[act.id]) for act in new)]


def holders(outcome: Outcome, pairs: Sequence[Pair]) -> list[Grant]:
    """The effective grants."""
    return [
        admitted.grant
        for act, admitted in pairs
        if admitted.grant is not None and act.id in outcome.effective
    ]


# --- one function of the set ------------------------------------------------------------------------------


def as_the_text_says(rng: Random, pairs: list[Pair]) -> bool:
    """The oracle, which is the text of the rules, says the same."""
    expected = outcome_of(pairs)
    view = view_of_pairs(pairs)
    assert told_outcome(view, pairs) == expected
    live = {grant.act_id for pid in view.subjects() for grant in view.live_grants(pid)}
    assert live == expected.live == {act_id for act_id in expected.hits if view.is_live(act_id)}
    for act_id, hits in records(expected, pairs).items():
        told_hits = view.data_hits(act_id)
        assert (None if told_hits is None else tuple(hit.act_id for hit in told_hits)) == hits
    for act, admitted in pairs:
        if admitted.grant is None:
            assert view.data_hits(act.id) is None
            assert view.is_live(act.id) == (act.id in expected.effective)
    return True


def i1_in_any_order(rng: Random, pairs: list[Pair]) -> bool:
    """I1, I12: any order, any batching, asked at any time: what it says in the end is what it says from
    scratch.
    """
    view = View(GID)
    for act, admitted in shuffled(pairs, rng):
        view.add(act, admitted)
        if rng.random() < 0.3:
            view.is_effective(act.id)
        if rng.random() < 0.1:
            view.is_protected(act.id)
    assert told_outcome(view, pairs) == told(pairs)
    assert _more(view, pairs) == _more(view_of_pairs(pairs), pairs)
    return True


def _more(view: View, pairs: Sequence[Pair]) -> object:
    """The rest of what a view says, in a form that can be compared."""
    return (
        {pid: sorted(grant.act_id for grant in view.live_grants(pid)) for pid in view.subjects()},
        {act.id: view.data_hits(act.id) for act, _ in pairs},
        [view.is_live(act.id) for act, _ in pairs],
        view.root,
        view.properties,
        sorted(view.invites(), key=lambda one: one[0]),
        {view.head(act.place.author, act.place.chain) for act, _ in pairs},
    )


def changes_are_told(rng: Random, pairs: list[Pair]) -> bool:
    """Whatever a caller was told before and would be told otherwise now, it hears of."""
    view, order = View(GID), shuffled(pairs, rng)
    bodies = [act.body for act, _ in pairs]
    adopted = {one for body in bodies if isinstance(body, GrantBody) for one in split_ids(body.adopts)}
    cuts = sorted(rng.sample(range(1, len(order)), min(4, len(order) - 1)))
    seen: dict[bytes, object] = {}
    generation = 0
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        for act, admitted in order[start:end]:
            view.add(act, admitted)
        told_now = {act.id: _told_of(view, act.id) for act, _ in order[:end]}
        changed = view.take_changed()
        assert changed is not None
        other = [act_id for act_id, what in seen.items() if what != told_now[act_id]]
        assert not other or view.generation > generation
        assert other or changed or view.generation == generation
        grants = {act_id for act_id in other if getattr(view.admitted(act_id), "grant", None) is not None}
        assert grants <= set(changed) <= grants | adopted
        seen, generation = told_now, view.generation
    return True


def _told_of(view: View, act_id: bytes) -> object:
    effective = view.is_effective(act_id)
    return effective, view.hits_of(act_id) if effective else None, view.data_hits(act_id)


# --- the invariants ---------------------------------------------------------------------------------------


def i2_juniors_change_nothing(rng: Random, pairs: list[Pair]) -> bool:
    """I2: acts of level ≥ L change neither the grants of levels ≤ L nor what is effective above."""
    level = rng.choice((1, 2, 3, 4, 254, 255))
    senior = [act for act, _ in pairs if act.place.level < level]
    part = closure(pairs, senior)
    whole, alone = told(pairs), told(part)
    resigns = {act.id for act, _ in pairs if act.kind == Kind.RESIGN and act.place.level >= level}
    for act in senior:
        assert (act.id in whole.effective) == (act.id in alone.effective)
    for act, admitted in part:
        if admitted.grant is not None and admitted.grant.level <= level and act.place.level < level:
            assert set(whole.hits[act.id]) - resigns == set(alone.hits[act.id]) - resigns
    return len(part) < len(pairs)


def i2_equals_change_nothing(rng: Random, pairs: list[Pair]) -> bool:
    """I2: what one key signs at level L and beyond changes nothing for others at L."""
    level, key = rng.choice((1, 2, 3, 254)), named(rng.choice(KEYS)).public.pid
    others = [
        act
        for act, _ in pairs
        if act.place.level < level or (act.place.level == level and act.place.author != key)
    ]
    part = closure(pairs, others)
    whole, alone = told(pairs), told(part)
    for act in others:
        assert (act.id in whole.effective) == (act.id in alone.effective)
    return len(part) < len(pairs)


def i3_levels_fall_to_the_root(rng: Random, pairs: list[Pair]) -> bool:
    """I3, I11: effective grants are junior to their authors, inside the window of their `cred`, and the way
    up by `cred` ends at the root.
    """
    acts = dict(pairs_by_id(pairs))
    found = False
    for grant in holders(told(pairs), pairs):
        found, at = True, grant
        while at.author_level != LEVEL_ROOT:
            above = acts[at.cred][1].grant
            assert above is not None
            assert (above.level, above.pid) == (at.author_level, at.author)
            assert above.level < at.level
            assert above.window.start <= at.window.start
            assert at.window.end <= above.window.end
            at = above
        assert acts[at.cred][1].root is not None
    return found


def pairs_by_id(pairs: Sequence[Pair]) -> Iterable[tuple[bytes, Pair]]:
    """By act id."""
    return ((pair[0].id, pair) for pair in pairs)


def i4_what_is_cut_off_stays_outside(rng: Random, pairs: list[Pair]) -> bool:
    """I4: a revoked key, and those that hold only what it granted since, can add nothing that counts."""
    before = told(pairs)
    cases = []
    for act, _ in pairs:
        if act.kind not in _REVOCATIONS or act.id not in before.effective:
            continue
        assert isinstance(act.body, RevokeCredentialBody | RevokeKeyBody)
        mine = [one.grant for _, one in pairs if one.grant is not None and one.grant.key.raw == act.body.key]
        if mine and all(act.id in before.hits[grant.act_id] for grant in mine):
            cases.append(mine)
    if not cases:
        return False
    maker, mine = Maker.after(rng, pairs), rng.choice(cases)
    stranger = named("new").public.pid
    for _ in range(6):
        held = [one for one in maker.grants if one.pid == stranger]
        under = rng.choice([*mine, *mine, *held])
        _rogue(maker, rng, under)
    after_pairs = made(maker, pairs)
    after = told(after_pairs)
    assert after.effective == before.effective
    assert {one: after.hits[one] for one in before.hits} == before.hits
    return len(after_pairs) > len(pairs)


def _rogue(maker: Maker, rng: Random, under: Grant) -> None:
    """What a thief would sign."""
    victim = named(rng.choice(KEYS)).public
    roll = rng.randrange(5)
    if roll == 0 and under.level <= LEVEL_ADMIN_MAX:
        maker.act(under, Kind.ANNUL, AnnulBody(act=rng.choice(maker.acts).id))
    elif roll == 1:
        maker.act(under, Kind.REVOKE_KEY, RevokeKeyBody(key=victim.raw))
    elif roll == 2:
        maker.act(under, Kind.RESIGN, ResignBody(keep=maker.cut(under.pid)))
    elif under.level != 255:
        level = maker._level_below(under.level)
        more = {"despite": b"".join(one.id for one in rng.sample(maker.acts, min(3, len(maker.acts))))}
        if rng.random() < 0.5:
            more |= {"adopts": under.act_id, "keep": maker.cut(under.pid)}
        subject = "new" if rng.random() < 0.7 else rng.choice(KEYS)
        maker.act(under, Kind.GRANT, maker.grant_body(under, subject, level, **more))


def i5_what_is_dead_stays_dead(rng: Random, pairs: list[Pair]) -> bool:
    """I5: no act of a larger level than a revocation's makes it hit less."""
    before = told(pairs)
    acts = dict(pairs_by_id(pairs))
    dead = [(grant, hit) for grant, hits in before.hits.items() for hit in hits]
    if not dead:
        return False
    grant, hit = rng.choice(dead)
    maker = Maker.after(rng, pairs)
    for _ in range(12):
        maker.step()
    after_pairs = made(maker, pairs)
    old = {act.id for act, _ in pairs}
    allowed = [act for act, _ in after_pairs if act.id in old or act.place.level > acts[hit][0].place.level]
    kept = {act.id for act in allowed}
    part = [pair for pair in after_pairs if pair[0].id in kept]
    part = [pair for pair in part if _needs(pair[0]) <= kept]
    assert hit in told(_closed(part)).hits[grant]
    return len(part) > len(pairs)


def _needs(act: Act) -> set[bytes]:
    return {one for one in (act.place.prev, act.place.cred) if one is not None}


def _closed(pairs: Sequence[Pair]) -> list[Pair]:
    """Those whose ancestors are all there."""
    there, kept = set[bytes](), []
    for pair in pairs:
        if _needs(pair[0]) <= there:
            there.add(pair[0].id)
            kept.append(pair)
    return kept


def i6_grants_take_nothing_away(rng: Random, pairs: list[Pair]) -> bool:
    """I6: grants that adopt nothing make no other act void and hit no other grant."""
    before, maker = told(pairs), Maker.after(rng, pairs)
    for _ in range(5):
        maker.grant()
    after = told(made(maker, pairs))
    assert before.effective <= after.effective
    assert before.live <= after.live
    return len(after.effective) > len(before.effective)


def _root_act(maker: Maker, kind: int, body: RevokeCredentialBody | PropertiesBody) -> Act:
    """An act of the root version that counts."""
    view = view_of_pairs(made(maker, []))
    version = view.rotations[-1]
    keys = root_keys(next(label for act_id, label in maker.versions if act_id == version))
    signers = sorted(keys.pids[: keys.threshold])
    return maker.act(None, kind, body, cred=version, signers=signers, chain=7)


def i7_an_exact_cut_costs_only_membership(rng: Random, pairs: list[Pair]) -> bool:
    """I7: who is revoked with all its heads kept loses its grants, and nobody anything else."""
    before, maker = told(pairs), Maker.after(rng, pairs)
    key = named(rng.choice(KEYS)).public
    mine = [act for act, _ in pairs if act.place.author == key.pid]
    followed = {act.place.prev for act in mine}
    keep = b"".join(act.id for act in mine if act.id not in followed)
    cut = _root_act(maker, Kind.REVOKE_CREDENTIAL, RevokeCredentialBody(key=key.raw, keep=keep))
    after_pairs = made(maker, pairs)
    after = told(after_pairs)
    assert after.effective == before.effective | {cut.id}
    for _, admitted in pairs:
        if admitted.grant is not None:
            hit = (cut.id,) if admitted.grant.pid == key.pid else ()
            assert sorted((*before.hits[admitted.id], *hit)) == list(after.hits[admitted.id])
    return bool(mine)


def i8_garbage_may_go(rng: Random, pairs: list[Pair]) -> bool:
    """I8: the view of P(S) is the view of S, and so is that of P(S) with some of the rest."""
    whole = told(pairs)
    part = [pair for pair in pairs if pair[0].id in whole.protected]
    assert told(part).effective == whole.effective
    assert told(part).live == whole.live
    assert told(part).protected == whole.protected
    chosen = [act for act, _ in pairs if act.id in whole.protected or rng.random() < 0.5]
    some = closure(pairs, chosen, heads=False)
    assert told(some).effective == whole.effective
    assert told(some).protected == whole.protected
    return len(part) < len(pairs)


def i9_equals_are_immune(rng: Random, pairs: list[Pair]) -> bool:
    """I9: an ANNUL or a revocation changes nothing at its own level."""
    before, maker = told(pairs), Maker.after(rng, pairs)
    able = [grant for grant in holders(before, pairs) if grant.level <= LEVEL_ADMIN_MAX]
    if not able:
        return False
    under = rng.choice(able)
    equals = [act for act, _ in pairs if act.place.level <= under.level]
    if equals and rng.random() < 0.5:
        maker.act(under, Kind.ANNUL, AnnulBody(act=rng.choice(equals).id), chain=8)
        spared = {act.id for act, _ in pairs}
    else:
        target = rng.choice(able)
        maker.act(under, Kind.REVOKE_KEY, RevokeKeyBody(key=target.key.raw), chain=8)
        spared = {act.id for act, _ in pairs if act.place.level <= under.level}
    after = told(made(maker, pairs))
    assert before.effective & spared == after.effective & spared
    return True


def i10_chains_are_whole(rng: Random, pairs: list[Pair]) -> bool:
    """I10, I13, I14: what is admitted follows an act of its chain by number and time, is of this group, and
    at level 0 has enough distinct signers.
    """
    acts = dict(pairs_by_id(pairs))
    for act, _ in pairs:
        place = act.place
        assert place.gid == GID
        assert (place.seq == 1) == (place.prev is None)
        if place.prev is not None:
            before = acts[place.prev][0].place
            assert (before.author, before.chain, before.seq + 1) == (place.author, place.chain, place.seq)
            assert before.hlc < place.hlc
        if place.cred is not None and place.level == LEVEL_ROOT and act.kind != Kind.ROTATE_ROOT:
            root = acts[place.cred][1].root
            assert root is not None
            assert len(set(act.signers) & set(root.operating)) >= root.threshold
    return True


def i11_windows_hold(rng: Random, pairs: list[Pair]) -> bool:
    """I11: an effective act is dated inside a grant to its author of its level that is effective."""
    outcome = told(pairs)
    grants = holders(outcome, pairs)
    for act, _ in pairs:
        if act.place.level != LEVEL_ROOT and act.id in outcome.effective:
            assert any(
                grant.pid == act.place.author
                and grant.level == act.place.level
                and grant.window.holds(second_of(act))
                for grant in grants
            )
    return bool(grants)


def i17_protected_sets_are_enough(rng: Random, pairs: list[Pair]) -> bool:
    """I17: nodes that begin with parts of a set and pass on P(S) alone end with the view of all of it."""
    parts = []
    for _ in range(4):
        share = rng.random()
        chosen = [act for act, _ in pairs if rng.random() < share]
        parts.append({act.id for act, _ in closure(pairs, [pairs[0][0], *chosen], heads=False)})
    union = [pair for pair in pairs if any(pair[0].id in part for part in parts)]
    for _ in range(8):
        protected = [told([pair for pair in pairs if pair[0].id in part]).protected for part in parts]
        news = set().union(*protected)
        if all(news <= part for part in parts):
            break
        parts = [part | news for part in parts]
    else:
        raise AssertionError("they do not agree")
    expected = told(union)
    for part in parts:
        mine = told([pair for pair in pairs if pair[0].id in part])
        assert mine.effective == expected.effective
        assert mine.live == expected.live
        assert mine.protected == expected.protected
    return True


def kept_is_what_counts(rng: Random, pairs: list[Pair]) -> bool:
    """What a rotation keeps, for its hash, is what evaluation lets stand of the version that it replaces."""
    view, acts = view_of_pairs(pairs), dict(pairs_by_id(pairs))
    replaced = view.rotations[:-1]
    for version, rotation in zip(replaced, view.rotations[1:], strict=True):
        signed = [act for act, _ in pairs if act.place.cred == version and act.kind != Kind.ROTATE_ROOT]
        standing = {act.id for act in signed if view.is_effective(act.id)}
        kept = kept_by(view._nodes[rotation])
        assert set(kept) == standing
        assert len(kept) == len(standing)
        assert acts[rotation][1].root is not None
    return bool(replaced)


LAWS: tuple[Law, ...] = (
    as_the_text_says,
    i1_in_any_order,
    changes_are_told,
    i2_juniors_change_nothing,
    i2_equals_change_nothing,
    i3_levels_fall_to_the_root,
    i4_what_is_cut_off_stays_outside,
    i5_what_is_dead_stays_dead,
    i6_grants_take_nothing_away,
    i7_an_exact_cut_costs_only_membership,
    i8_garbage_may_go,
    i9_equals_are_immune,
    i10_chains_are_whole,
    i11_windows_hold,
    i17_protected_sets_are_enough,
    kept_is_what_counts,
)
