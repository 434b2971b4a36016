"""What the machines know, in the words of the API: nothing is guessed, nothing is left out."""

from __future__ import annotations

from peerd.groups.rendering import pem_of
from protocol.credentials.certificates import decode_untrusted_certificate
from tests.support.builders import Group


def test_a_certificate_in_pem_is_the_same_certificate():
    from cryptography import x509

    der = Group().creator.der.certificate.der
    assert decode_untrusted_certificate(der).der == der
    assert x509.load_pem_x509_certificate(pem_of(der).encode()).serial_number > 0
