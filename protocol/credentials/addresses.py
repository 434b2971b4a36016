"""Addresses under which nodes are dialled, as people and documents write them: `host:port`.

A host is an IPv4 address, an IPv6 address in brackets, or a DNS name. Differs: the original had IPv6 only.
"""

from __future__ import annotations

import ipaddress
import re

from protocol.errors import RuleError
from protocol.limits import ADDRESS_CHARACTERS_MAX

PORT_MAX = 65_535

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>[1-9][0-9]{0,4})", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)


def check_address(text: str) -> str:
    """Return an address unchanged. Raises: RuleError (invalid-argument)."""
    # With a colon and a port, this also keeps names within the 253 characters of RFC 1035 3.1.
    if len(text) > ADDRESS_CHARACTERS_MAX:
        raise _refused(f"it has {len(text)} characters, {ADDRESS_CHARACTERS_MAX} are allowed")
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > PORT_MAX:
        raise _refused(f"it must be host:port or [IPv6]:port with a port from 1 to {PORT_MAX}")
    if found["v6"] is not None:
        if not _is_ipv6(found["v6"]):
            raise _refused("what stands in the brackets is not an IPv6 address")
    elif not _is_ipv4(found["host"]) and not _is_dns_name(found["host"]):
        raise _refused("its host is neither an IP address nor a DNS name")
    return text


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    # Guards: a zone (fe80::1%eth0) names a network card of the machine that wrote it, and means nothing
    # elsewhere.
    if "%" in host:
        return False
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_dns_name(host: str) -> bool:
    labels = host.split(".")
    # Guards: a last label of digits is a mistyped IPv4 address, which resolvers read in ways of their own.
    return all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdigit()


def _refused(reason: str) -> RuleError:
    return RuleError(
        "invalid-argument", f"the address is not usable: {reason}", hint="for example 192.0.2.7:3587"
    )
