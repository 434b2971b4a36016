"""Identity documents: what somebody hands an administrator in order to be let in.

PEERIDENTITYINFO of the original (windows-grouping.md 3.8): the identity's own certificate, and with it its
public key and name. It holds no secret. Its certificate is signed by the key in it, so one changed byte is
noticed, while the whole may be somebody else's: that it came from the right person, only people can say.
"""

from __future__ import annotations

from protocol.credentials.certificates import Certificate
from protocol.credentials.keys import holds
from protocol.credentials.markup import Element, Form, not_trusted, read_document, write_document
from protocol.credentials.pkcs7 import read_untrusted_bag, write_bag
from protocol.credentials.profile import Kind
from protocol.errors import RemoteProtocolError

_FORM = Form("PEERIDENTITYINFO", (Element("IDC", binary=True),))


def write_identity_document(idc: bytes) -> str:
    """The document of an identity, from the DER of its certificate."""
    return write_document(_FORM, {"IDC": (write_bag((idc,)),)})


def read_identity_document(xml: str | bytes) -> Certificate:
    """The identity certificate in a document; its signature holds. Raises: RuleError (as `read_document`)."""
    bag = read_document(_FORM, xml).binary("IDC")
    try:
        certificates = read_untrusted_bag(bag)
    except RemoteProtocolError as error:
        raise not_trusted(error.detail) from None
    if len(certificates) != 1 or certificates[0].kind is not Kind.IDC:
        raise not_trusted("it holds something else than one identity certificate")
    (certificate,) = certificates
    if not holds(certificate.check(certificate.key)):
        raise not_trusted("the certificate's signature does not hold")
    return certificate
