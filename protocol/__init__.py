"""The peerd protocol: pure rules and machines, without sockets, clocks or randomness.

The rooms, deepest first; each may import only those before it:

* foundation: `errors` (whose fault), `limits` (every bound), `ids` (hashes), `peer_time` (time as an
  argument), `codec` (the one encoding)
* `credentials`: keys, names, roles, X.509 certificates, chains, identity and invitation documents
* `authority`: signed acts, which of them are admitted, what the set of them means (the view), evidence
  bundles, issuing
* `wire`: frames and messages
* `machines`: state machines driven by events; `machines.group` composes them for one group

`SPEC.md` beside this file describes the formats for somebody who writes a second implementation,
`DECISIONS.md` the reasons for what is unusual, `vectors/` pins the bytes.
"""

# Another distribution also installs a package named "protocol"; the daemon checks at start that it got this
# one.
MARKER = "peerd-protocol"
VERSION = 1
