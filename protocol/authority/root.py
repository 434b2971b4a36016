"""The root of a group: genesis, the name that follows from it, and the commitment to the keys that may
replace it.

Genesis is the rotation 0 → 1. The group id is a hash of its whole body, so whoever steals the first root key
cannot make another genesis for the same group. The envelope around that body (chain, time, signer) is a
function of the body: one group id has one genesis act, whoever signs it again.

Source: design section 5 "Root"; authority-rules.md "Why some of it is so".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocol.authority.acts import Act, Place, content_of, sign_act
from protocol.authority.bodies import Kind, RotateRootBody
from protocol.codec import encode
from protocol.credentials.keys import PrivateKey, PublicKey, public_key_untrusted
from protocol.credentials.names import check_classifier, name_of_group
from protocol.errors import RuleError, malformed
from protocol.ids import split_ids, tagged_hash
from protocol.limits import BACKDATING_S, END_OF_TIME_S, LEVEL_ROOT
from protocol.peer_time import Window, hlc_s

_GID_TAG = "peerd/gid/1"
_RECOVERY_TAG = "peerd/recovery/1"
_CHAIN_BYTES = 16


@dataclass(frozen=True, slots=True)
class Root:
    """One root version as evaluation needs it. `operating` holds pids and `keys` the keys that go with them,
    `rotation` is the id of the act that installed it. `certificates` are its root certificates by pid, those
    that the rotation holds: genesis has none, its certificate is an element of its own. `kept` is the hash of
    what the rotation keeps of the version before (kept.py).
    """

    gid: bytes
    version: int
    rotation: bytes
    grc: PublicKey
    classifier: str
    created: int
    operating: tuple[bytes, ...]
    threshold: int
    commitment: bytes
    keys: tuple[PublicKey, ...] = ()
    certificates: tuple[tuple[bytes, bytes], ...] = ()
    kept: bytes | None = None

    @property
    def window(self) -> Window:
        """The life of every root certificate: from a little before genesis, without end."""
        return grc_window(self.created)

    @property
    def name(self) -> str:
        """The group's full name."""
        return str(name_of_group(self.gid, self.classifier))

    def certifies(self, pid: bytes) -> bool:
        """Whether chains of certificates can begin with this operating key."""
        return pid == self.grc.pid if self.version == 1 else self.certificate_of(pid) is not None

    def certificate_of(self, pid: bytes) -> bytes | None:
        """The DER of an operating key's root certificate that the rotation holds; None if it holds none."""
        return next((der for one, der in self.certificates if one == pid), None)

    def agreed_by(self, signers: Sequence[bytes]) -> bool:
        """Whether enough of these signers (pids) are operating keys of this version."""
        return sum(pid in self.operating for pid in signers) >= self.threshold


def grc_window(created: int) -> Window:
    """The root certificate's window for a genesis of hlc `created`."""
    return Window(max(0, hlc_s(created) - BACKDATING_S), END_OF_TIME_S)


def commitment_of(keys: Sequence[PublicKey], threshold: int) -> bytes:
    """What a root version publishes about the recovery set that may sign its successor (32 bytes)."""
    return revealed_commitment(b"".join(sorted(key.raw for key in keys)), threshold)


def revealed_commitment(keys: bytes, threshold: int) -> bytes:
    """The same over a revealed list of ascending raw keys."""
    return tagged_hash(_RECOVERY_TAG, encode({"keys": keys, "threshold": threshold}))


def gid_of(act: Act) -> bytes:
    """The group id that a genesis act's body defines (32 bytes)."""
    return tagged_hash(_GID_TAG, encode(act.body_map))


def make_genesis(
    *, grc: PrivateKey, classifier: str, recovery: Sequence[PublicKey], nonce: bytes, created: int
) -> Act:
    """Sign the genesis of a group whose operating set is its root key alone.

    `nonce` is 32 random bytes, `created` an hlc. One recovery key of `recovery` suffices to replace the root.
    """
    body = RotateRootBody(
        from_version=0,
        operating=grc.public.raw,
        threshold=1,
        next=commitment_of(recovery, 1),
        grc=grc.public.raw,
        classifier=classifier,
        nonce=nonce,
        created=created,
    )
    # The gid hashes the body alone, so a first signing under a placeholder gid tells what it is.
    draft = sign_act(_genesis_place(b"\0" * 32, nonce, created), Kind.ROTATE_ROOT, body, [grc])
    return sign_act(_genesis_place(gid_of(draft), nonce, created), Kind.ROTATE_ROOT, body, [grc])


def _genesis_place(gid: bytes, nonce: bytes, created: int) -> Place:
    return Place(
        gid=gid,
        author=gid,
        chain=nonce[:_CHAIN_BYTES],
        seq=1,
        prev=None,
        level=LEVEL_ROOT,
        cred=None,
        hlc=created,
    )


def is_genesis(act: Act) -> bool:
    """Whether the act claims to be a genesis."""
    return isinstance(act.body, RotateRootBody) and act.body.from_version == 0


def read_untrusted_genesis(act: Act) -> Root:
    """Check that a genesis is the one its group id names. Raises: RemoteProtocolError, and nothing else."""
    body = act.body
    if not (isinstance(body, RotateRootBody) and body.from_version == 0):
        raise malformed("not a genesis")
    if body.grc is None or body.nonce is None:
        raise malformed("a genesis has a root key and a nonce")
    root = Root(
        gid=act.place.gid,
        version=1,
        rotation=act.id,
        grc=public_key_untrusted(body.grc),
        classifier=body.classifier,
        created=body.created,
        operating=operating_pids(body),
        threshold=body.threshold,
        commitment=body.next,
        keys=operating_keys(body),
    )
    reason = next((r for rule in GENESIS_RULES if (r := rule(act, body, root)) is not None), None)
    if reason is not None:
        raise malformed(f"a genesis that breaks the rule {reason}")
    return root


def genesis_defines_the_group(act: Act, body: RotateRootBody, root: Root) -> str | None:
    """The group id is the hash of its body.

    Guards: a thief of the first root key, who would make another genesis for the same group.
    """
    return None if gid_of(act) == root.gid else "genesis_defines_the_group"


def genesis_is_no_rotation(act: Act, body: RotateRootBody, root: Root) -> str | None:
    """It says nothing that only a later rotation has to say."""
    said = (body.revealed, body.revealed_threshold, body.certificates, body.keep, body.kept)
    return "genesis_is_no_rotation" if any(said) else None


def genesis_follows_from_its_body(act: Act, body: RotateRootBody, root: Root) -> str | None:
    """Whoever signs the same body signs the same bytes: no second act, in a field or a form of its own, is a
    genesis of the group.
    """
    assert body.nonce is not None
    content = content_of(
        _genesis_place(root.gid, body.nonce, body.created), act.kind, act.body_map, act.signers
    )
    return None if act.content == content else "genesis_follows_from_its_body"


def genesis_is_signed_by_its_root_key(act: Act, body: RotateRootBody, root: Root) -> str | None:
    """By that key, and by no other besides."""
    return None if act.signers == (root.grc.pid,) else "genesis_is_signed_by_its_root_key"


def genesis_classifier_is_text(act: Act, body: RotateRootBody, root: Root) -> str | None:
    """The classifier is one that a group's name may have."""
    try:
        check_classifier(root.classifier)
    except RuleError:
        return "genesis_classifier_is_text"
    return None


GENESIS_RULES: tuple[Callable[[Act, RotateRootBody, Root], str | None], ...] = (
    genesis_defines_the_group,
    genesis_is_no_rotation,
    genesis_follows_from_its_body,
    genesis_is_signed_by_its_root_key,
    genesis_classifier_is_text,
)


def operating_pids(body: RotateRootBody) -> tuple[bytes, ...]:
    """The pids of a version's operating keys. Raises: RemoteProtocolError, as `operating_keys`."""
    return tuple(key.pid for key in operating_keys(body))


def operating_keys(body: RotateRootBody) -> tuple[PublicKey, ...]:
    """A version's operating keys. Raises: RemoteProtocolError for a list that is empty, repeats a key or is
    too short for its threshold.
    """
    raws = split_ids(body.operating)
    if not raws or any(a >= b for a, b in pairwise(raws)):
        raise malformed("an operating set lists its keys once each, in ascending order")
    if body.threshold > len(raws):
        raise malformed("a threshold larger than its set")
    return tuple(public_key_untrusted(raw) for raw in raws)
