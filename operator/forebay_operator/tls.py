"""Mints what only randomness can make: a cluster's certificates and a Dataset's keys. The one impure corner of `desired`.

Each is made once and kept: a Secret that is there and whole is never written again.
"""

import base64
import datetime as dt
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from forebay_operator.model import Tls

LIFETIME = dt.timedelta(days=3650)
_BEFORE = dt.timedelta(hours=1)
"""A certificate is valid a little before it was made: clocks differ."""


def secret_data(files: Tls) -> dict[str, str]:
    """As the data of a Secret."""
    named = {"ca.crt": files.ca, "tls.crt": files.certificate, "tls.key": files.key}
    return {name: base64.b64encode(pem).decode() for name, pem in named.items()}


def read_tls(data: dict[str, str]) -> Tls | None:
    """None where a file is missing."""
    try:
        return Tls(*(base64.b64decode(data[name]) for name in ("ca.crt", "tls.crt", "tls.key")))
    except (KeyError, ValueError):
        return None


def mint_authority(cluster: str, now: dt.datetime) -> Tls:
    """A certificate authority of the cluster's own: signs its members and its operator, nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"forebay {cluster}")
    certificate = (
        _builder(name, name, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Tls(pem, pem, _pem(key))


def mint_leaf(authority: Tls, name: str, now: dt.datetime, *, server: bool) -> Tls:
    """A certificate for a member (`server`) or for who calls it."""
    signer = x509.load_pem_x509_certificate(authority.certificate)
    signing_key = serialization.load_pem_private_key(authority.key, None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        _builder(_name(name), signer.subject, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return Tls(authority.certificate, certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def mint_access_key() -> tuple[str, str]:
    """Access key id and secret, in the shapes S3 clients expect."""
    return "FB" + base64.b32encode(secrets.token_bytes(10)).decode(), secrets.token_urlsafe(30)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
