"""Every bound of the protocol, with its unit in the name and its source or reason beside it."""

from __future__ import annotations

# --- codec (design section 7; reliability study M4, F22, F35) -----------------------------------------------
CODEC_DEPTH_MAX = 8
CODEC_ELEMENTS_MAX = 1024  # of one array or map; longer lists travel as byte strings
CODEC_NODES_MAX = 8192  # of one document in all, so that a frame of empty containers costs little

# --- names and text (windows-grouping.md 2.5, 3.1) ----------------------------------------------------------
CLASSIFIER_CHARACTERS_MAX = 149
FRIENDLY_NAME_CHARACTERS_MAX = 255
COMMENT_CHARACTERS_MAX = 255

# --- roles --------------------------------------------------------------------------------------------------
ROLES_MAX = 8  # of one grant: arbitrary, twice what newer versions are likely to add
ROLE_CODE_MAX = 255

# --- certificates and chains --------------------------------------------------------------------------------
CHAIN_CERTIFICATES_MAX = 25  # root and 24 GMCs, as the original
CHAIN_BYTES_MAX = 64 * 1024
CERTIFICATE_BYTES_MAX = 4096  # ours are about 900 bytes; the rest is room for names of 4-byte characters
CERTIFICATE_SHAPES_MAX = 256  # kept ready for writing, about 1 KiB each: lengths of names differ, little else
CERTIFICATE_DATES_MAX = 256  # kept ready for writing: credentials of one call begin in one second
SERIAL_BYTES_MAX = 20  # RFC 5280 4.1.2.2
BACKDATING_S = 300  # a new certificate starts this much before its act, for clocks that lag (promise P7)
DEFAULT_LIFE_S = 90 * 86_400
END_OF_TIME_S = 253_402_300_799  # 9999-12-31T23:59:59Z, "no expiry" of RFC 5280 4.1.2.5

# --- acts ---------------------------------------------------------------------------------------------------
ACT_BYTES_MAX = 48 * 1024  # a keep list of 1,024 heads (32 KiB) and room for the rest; fits any frame
LEVEL_ROOT = 0
LEVEL_ADMIN_MAX = 24
LEVEL_INVITING_MEMBER = 254
LEVEL_MEMBER = 255
KEEP_IDS_MAX = 1024
DESPITE_IDS_MAX = 16
ADOPTS_IDS_MAX = 16
ROOT_KEYS_MAX = 16  # of one operating or recovery set: arbitrary, more than people share out
KEPT_PROOF_STEPS_MAX = 32  # of the proof that a rotation keeps a grant: a tree of 2**32 acts
ROTATION_HEADS_MAX = 512  # that a rotation of our own keeps: it is in every bundle, and leaves room there
RIVALS_TOLD_MAX = 16  # rival rotations that one node tells of: arbitrary, one is alarming enough
EXT_BYTES_MAX = 4096
PROPERTIES_EXTRA_MAX = 64  # entries of the extra map: arbitrary, bounds the act
PROPERTIES_BYTES_MAX = 32 * 1024  # of their body, so that it fits an act with all that surrounds it
CHANGED_GRANTS_MAX = 16_384  # named to those who re-judge what rests on them; of more they look at all
CHAINS_OWN_WARN = 8  # a daemon warns when it opens its ninth chain
HLC_AHEAD_MS_MAX = 5 * 60 * 1000  # beyond it an act is quarantined

# --- holding (protocol-study 3.6) ---------------------------------------------------------------------------
HELD_PER_LINK_MAX = 256
HELD_BYTES_MAX = 1024 * 1024
HELD_S_MAX = 60
QUARANTINED_MAX = 256
QUARANTINED_BYTES_MAX = 1024 * 1024
VOID_ACTS_MAX = 20_000  # a burst of acts (design section 5)
VOID_ACTS_S_MAX = 30 * 86_400
URGENT_ACTS_MAX = 4096  # acts that held revocations name, and that are not here yet

# --- rates of acts (design section 5) -----------------------------------------------------------------------
ACTS_BURST = 20_000  # of one key, without those that remove; then …
ACTS_A_DAY = 5_000
ACTS_REMOVING_FACTOR = 2  # as many again, and as often, with those that remove
ACTS_OF_MEMBER_FACTOR = 20  # one of a plain member counts so often: it has nothing to sign but that it leaves
ACT_COUNTED_BYTES = 1024  # for which an act counts once
ACTS_DELAYED_MAX = 65_536  # known by id, so that they are not fetched again: about 15 MB
ACT_RATES_TOLD_MAX = 64  # keys of which it is remembered that an alarm was raised
EVIDENCE_MAX = 256  # forks and stolen keys noted for ever: about 40 KiB
EVIDENCE_PER_AUTHOR_MAX = 2  # of each kind; one chain of an author is proof enough

# --- evidence and documents ---------------------------------------------------------------------------------
BUNDLE_BYTES_MAX = 56 * 1024  # a chain of 25 with its acts; fits the frame before membership is proved
BUNDLE_ACTS_MAX = 64  # a chain of 25, and as many rotations of the root as fit beside it
REMOVAL_PROOF_BYTES_MAX = 60 * 1024  # as it is kept: of a bundle and of what fits in NOTHING_FRAME_BYTES
DOCUMENT_BYTES_MAX = 128 * 1024
ROOT_FILE_BYTES_MAX = 64 * 1024  # what is carried to a root key and back: an act, and what surrounds it
INVITATION_ADDRESSES_MAX = 16
ADDRESS_CHARACTERS_MAX = 255

# --- frames and links (design section 7) --------------------------------------------------------------------
FRAME_BYTES_MAX_STRANGER = 64 * 1024
FRAME_BYTES_MAX_MEMBER = 256 * 1024
WELCOME_FRAME_BYTES_MAX = 128 * 1024  # two bundles; read only by a caller, from whom it chose to ask
NOTHING_FRAME_BYTES = 4096
VERSIONS_MAX = 8
REFERRALS_MAX = 8
LISTEN_ADDRESSES_MAX = 4
KNOWN_ADDRESSES_MAX = 64  # learnt from referrals; the oldest unused one is forgotten first
LINKS_TARGET = 5
LINKS_MAX = 8
LINK_RENEWAL_MS = 600_000  # then the oldest link that a node made is made anew with somebody else
FULL_MESH_NODES_MAX = 6
KEEPALIVE_MS = 15_000
SUMMARY_QUIET_MS = 1_000  # after a change, the new digest is told when nothing has changed for this long
LINK_SILENT_MS_MAX = 35_000  # two keep-alives missed
MEMBERSHIP_RECHECK_MS = 60_000
HANDSHAKE_MS_MAX = 10_000
DIAL_FAILURES_MAX = 8  # in a row, then a learnt address is forgotten: arbitrary, about two minutes
REDIAL_MS_MIN = 500
REDIAL_MS_MAX = 60_000  # promise P13
REDIAL_REMOVED_MS = 300_000  # by a node that was told that it is removed: somebody may bring it back
PICKUP_POLL_MS_MIN = 1_000  # a subject that waits for its first credential asks again this soon …
PICKUP_POLL_MS_MAX = 60_000  # … and doubles up to here

# --- flood, reconciliation, transfer (protocol-study 1.6, 2.3) ----------------------------------------------
ELEMENTS_PER_FRAME_MAX = 256
TRANSFER_FRAME_BYTES_TARGET = 64 * 1024
TRANSFER_FRAMES_IN_FLIGHT_MAX = 16  # while half of them become durable, the others are checked
ANTI_ENTROPY_MS = 60_000  # ± 50 %
DIGEST_DIFFERS_MS = 5_000
RECONCILE_BRANCHES = 16
RECONCILE_LIST_MAX = 32  # a range with fewer items is listed
RECONCILE_PART_IDS_MIN = 8  # a range of few ids is split into fewer parts, none smaller than this
RECONCILE_COMPARED_IDS_MAX = 16_384  # a list is compared with no more ids than this; a larger range is split
RECONCILE_SHORT_IDS_MAX = 32_768  # computed for one message: about 40 ms
RECONCILE_NAMED_MAX = 256  # ids named in answer to one list; more are only counted (a new node's catch-up)
RECONCILE_FOUND_MAX = 65_536  # ids to send, found by one session: about 10 MB; the rest is left to the next
RECONCILE_ANSWER_BYTES_MAX = 9 * 1024  # NAMED_MAX ids of 32 bytes, and what surrounds them
RECONCILE_PASSES_MAX = (
    8  # over all ids held, of hashing in one session (protocol-study 2.3); honest sides need 6
)
RECONCILE_HASHED_IDS_MIN = 4096  # allowed however few ids are held: arrivals may multiply them meanwhile
RECONCILE_MESSAGES_MAX = 16
RECONCILE_BYTES_MAX = 1024 * 1024
RECONCILE_PAYLOAD_BYTES_MAX = 240 * 1024  # of one message: leaves room in a frame for what surrounds it
SHORT_ID_BYTES = 8
FINGERPRINT_BYTES = 16
DIGEST_BYTES = 16
DIGEST_SHARDS = 256
ORDERED_BLOCK_IDS_MAX = (
    2048  # of one piece of the sorted ids: small enough that an insertion moves 37 KiB on average
)
RECONCILE_S_MAX = 60
SESSION_GAP_MS_MIN = 10_000  # between two sessions that one side begins with one neighbor
SESSION_GAP_MS_MAX = 300_000  # when they keep bringing nothing
WANTED_IDS_MAX = 1024
GOT_IDS_MAX = 256  # of one acknowledgement: as many as there are versions in a frame
RECORDS_PASSED_ON_MAX = 1024  # brought by one session; of more, neighbors learn by digests
REPLICATED_MAX = 1024  # own versions of which it is counted who has them; the oldest is forgotten
REPLICAS_MAX = 64  # neighbors counted for one version: more than anybody waits for
BODIES_PER_LINK_MAX = 4  # fetched from one neighbor at a time
BODIES_UNDER_WAY_MAX = 16  # fetched in all, each held in memory until it is whole
BODIES_WANTED_MAX = 1024  # known in memory to be lacking; the store knows the rest
BODY_ANNOUNCED_MAX = 8  # versions, and neighbors who asked for word, remembered for one wanted body
BODY_PIECES_AHEAD = 4  # asked for before the first of them has come
BODY_STALLED_MS = 10_000  # without a piece, another neighbor is asked
BODY_RETRY_MS_MIN = 1_000  # when no neighbor had it, all are asked again after this …
BODY_RETRY_MS_MAX = 60_000  # … and after twice as long each time, up to here
BODIES_DENIED_MAX = 1024  # bodies that neighbors asked for in vain, and are told of when they have come
POSITIONS_MAX = 64  # neighbors of whom it is remembered up to where they agreed
RECENT_COMPARED_MAX = 2048  # that arrived last, with which a neighbor's list of recent ones is compared
RECENT_IDS_MAX = 512  # that arrived since two nodes last agreed; with more, ranges are reconciled

# --- the crank ----------------------------------------------------------------------------------------------
CRANK_EVENTS_MAX = 64
INBOX_EVENTS_MAX = 1024
OUTBOX_BYTES_MAX = 4 * 1024 * 1024  # promise P12: beyond it a link is closed
OUTBOX_FLOOD_BYTES_MAX = 2 * 1024 * 1024  # beyond it news is left to reconciliation; a session has half of it

# --- checking signatures ------------------------------------------------------------------------------------
CHECKING_PROCESSES_MAX = 4  # of 24 MiB each: what one loop can make use of
CHECKING_BATCH_MIN = 16  # signatures; fewer are checked on a thread
CHECKING_WORTH_MIN = 1024  # signatures in such batches before a process is started: it takes as long
CHECKING_BATCHES_WAITING_MAX = 8  # for a process; who has one more waits
CHECKING_ANSWER_S_MAX = 10  # a process that takes longer over a batch is given up
CHECKING_IDLE_S_MAX = 10  # then a process is let go
CHECKING_RETRY_S = 600  # after one has failed

# --- the store (design section 9) ---------------------------------------------------------------------------
SETTING_KEY_CHARACTERS_MAX = 64
SETTING_BYTES_MAX = 64 * 1024
CATALOGUE_ENTRY_BYTES_MAX = 64 * 1024  # names, and KNOWN_ADDRESSES_MAX addresses of 255 bytes
EVENTS_KEPT_MAX = 50_000  # arbitrary: twice a burst of acts (design section 5), about 10 MB
EVENTS_PAGE_MAX = 1000
EVENT_KIND_CHARACTERS_MAX = 64
EVENT_FACTS_BYTES_MAX = 8 * 1024
STORE_BUSY_MS_MAX = 2_000  # somebody who looks into the file with another program is waited for this long
STORE_WAL_PAGES_MAX = (
    4_000  # of 4 KiB in the log; beyond it they are moved into the database, each once: many come again
)
STORE_WAL_BYTES_MAX = 16 * 1024 * 1024  # a log that a long reader let grow is cut back to this
STORE_HELD_BACK_BYTES_MAX = 64 * 1024  # of new records; when there are more, they are written
STORE_CACHE_KIB = 16 * 1024  # of pages in memory: the indexes to which 100,000 records are added

# --- records (design section 6; protocol-study 4.2) ---------------------------------------------------------
HEADER_BYTES_MAX = 8 * 1024  # attributes, and what surrounds them
RECORD_TYPE_CHARACTERS_MAX = 64
ATTRIBUTES_BYTES_MAX = 4 * 1024
ATTRIBUTE_NAME_CHARACTERS_MAX = 40
BODY_BYTES_MAX = 1024 * 1024
BODY_FLOODED_BYTES_MAX = 256  # a larger one is announced by its header and pulled
BODY_TRANSFERRED_BYTES_MAX = 16 * 1024  # a larger one is pulled after the session, in pieces
RECORD_ITEM_BYTES_MAX = HEADER_BYTES_MAX + BODY_TRANSFERRED_BYTES_MAX + 16  # and what surrounds the two
PIECE_BYTES_MAX = 64 * 1024
EXPIRING_LIFE_S_MAX = 90 * 86_400
HEADER_LIFE_S = 90 * 86_400  # a header of the expiring class is kept for this long after its hlc
CREATORS_REMEMBERED_MAX = 1024  # whose part of a record id need not be hashed again
OTHER_AUTHORS_MAX = 4  # besides the creator, whose best versions of a record are kept
CONTACT_BYTES_MAX = 2 * 1024  # four addresses of 255 characters, a node id and a key
CONTACT_ADDRESSES_MAX = 4
RECORDS_QUARANTINED_MAX = 1000
RECORDS_QUARANTINED_BYTES_MAX = 1024 * 1024
RECORDS_HELD_MAX = 1024
RECORDS_HELD_BYTES_MAX = 1024 * 1024
RECORDS_ASIDE_MAX = 10_000
RECORDS_ASIDE_BYTES_MAX = 64 * 1024 * 1024
RECORDS_ASIDE_S_MAX = 30 * 86_400
QUOTA_IDS = 100_000  # of one creator, unless the group's properties say otherwise
QUOTA_BYTES = 256 * 1024 * 1024
SETTLED_S = 15  # what is younger may still be under way, and does not count for the digest
MARK_S = 16  # the digest covers records up to a multiple of this
CLOCK_DIFFERENCE_MS_MAX = 5 * 60 * 1000
ALONE_STEADY_MS = 3_600_000  # how long a sole member's clock must go on evenly to be believed: arbitrary
MISDATED_MS = 3_600_000  # a version dated ahead by less than this is waited for, not dated anew
CLOCK_SET_BACK_MS = 60_000  # a clock set back by less than this is taken to have gone on
FLOOR_SAVED_MS = 60_000  # how far group time may run ahead of what is written down
HORIZON_STEP_S = 3600
RECORDS_HELD_S_MAX = 60
RECORDS_EXPIRED_MAX = 256  # taken from view, or collected, by one event: the next follows at once
REFRESH_RETRY_S = 60
REFRESHED_MAX = 1024  # records of one group that one daemon refreshes: arbitrary
ASIDE_TRIM_MS = 60_000
RECORDS_COLLECT_MS = 3_600_000  # between two looks for headers whose time is over
RECORDS_SETTLED_MAX = 128  # judged again by one event after a revocation: about 20 ms
EXPORT_PAGE_ITEMS_MAX = 256  # read, or taken in, as one
EXPORT_PAGE_BYTES = 256 * 1024  # beyond which a page is full
EXPORT_CHUNK_BYTES_MAX = BODY_BYTES_MAX + HEADER_BYTES_MAX + 64  # a version with its data, as exported

# --- searching records --------------------------------------------------------------------------------------
SEARCH_BYTES_MAX = 16 * 1024  # of one query, in either language
SEARCH_DEPTH_MAX = 32  # of parentheses and `not`, or of elements
SEARCH_TERMS_MAX = 256  # comparisons of one query
SEARCH_WILDCARDS_MAX = 16  # of one pattern
SEARCH_ORDERS_MAX = 8  # fields that one query orders by
SEARCH_PEERS_MAX = 1024  # keys that the names in one query may stand for
SEARCH_PAGE_MAX = 1000
SEARCH_CURSOR_BYTES_MAX = 48 * 1024  # the values of ORDERS_MAX attributes, and what surrounds them
SEARCH_MS_MAX = 2_000  # twice what any search among 100,000 records should take
CONTACT_LIFE_S = 30 * 86_400  # a member is seen for this long after it was there
CONTACT_RENEWAL_S = 86_400
CONTACT_RETRY_MS = 60_000
DIRECTORY_DRAWN_MAX = 8  # members drawn at a time

# --- upkeep (design section 5) ------------------------------------------------------------------------------
RENEWAL_LEFT = 3  # a credential is renewed when a third of its life is left
RENEWAL_HOLD_BACK_S_MAX = 60  # an administrator waits this long for the one before it
RENEWAL_LOOK_MS = 500  # between two looks at all members
RENEWALS_AT_ONCE_MAX = 64
UNSEEN_S_MAX = 30 * 86_400  # who was not seen for so long is not renewed
WARN_SHARE = 6  # renewal comes at a third of a life; when half of that is left, it is worth a warning …
WARN_S_MAX = 30 * 86_400  # … but not of what still holds for a month
CLOSED_AFTER_S = 86_400
