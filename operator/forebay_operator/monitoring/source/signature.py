"""Who signed a commit: OpenSSH signatures ("SSHSIG"), checked in this process with no program and no key ring. Pure.

Layout: PROTOCOL.sshsig of OpenSSH. The signed message is the commit object without its `gpgsig` header. Trusted keys are
lines of an allowed_signers file: names, then options (`namespaces=`, or none), key type, key. The name of the first key
that fits is the signer. Certificates and PGP keys are not read.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from forebay_operator.model import BadManifest
from forebay_operator.monitoring.source.base import refuse

MAGIC = b"SSHSIG"
NAMESPACE = b"git"
BEGIN, END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
HEADERS = (b"gpgsig ", b"gpgsig-sha256 ")
RSA_HASHES: Mapping[bytes, hashes.HashAlgorithm] = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
CURVE_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
MESSAGE_HASHES = frozenset({"sha256", "sha512"})
RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """`blob`: the public key as SSH writes it on the wire."""

    name: str
    blob: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature taken apart."""

    key: bytes
    namespace: bytes
    hash: str
    algorithm: bytes
    signature: bytes
    reserved: bytes


def read_trusted(text: str) -> tuple[TrustedKey, ...]:
    """Keys of an allowed_signers file. Raises BadManifest, which names the line."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                keys.append(trusted_key(line.split()))
            except (ValueError, UnsupportedAlgorithm) as exc:
                raise BadManifest(f"trusted keys, line {number}: {exc}") from exc
    return tuple(keys)


def trusted_key(words: Sequence[str]) -> TrustedKey:
    kind = next((n for n, word in enumerate(words) if word.startswith(("ssh-", "ecdsa-"))), 0)
    if not kind or len(words) < kind + 2 or set(words[1:kind]) - {'namespaces="git"'}:
        raise ValueError('expected: name [namespaces="git"] type key')
    load_ssh_public_key(" ".join(words[kind : kind + 2]).encode())
    return TrustedKey(words[0], base64.b64decode(words[kind + 1], validate=True))


def signer(raw: bytes, trusted: Sequence[TrustedKey]) -> str:
    """The name of who signed a commit object. Raises MonitoringRefused: unsigned, a stranger, or changed since."""
    message, armored = taken_apart(raw)
    if not armored:
        raise refuse(".", "MAC101", "the commit is not signed")
    if not armored.startswith(BEGIN):
        raise refuse(".", "MAC102", "the commit is signed by something else than an SSH key")
    try:
        signed = read_signature(armored)
    except (ValueError, struct.error, binascii.Error) as exc:
        raise refuse(".", "MAC103", f"the signature cannot be read: {exc}") from exc
    name = next((key.name for key in trusted if key.blob == signed.key), "")
    if not name:
        raise refuse(".", "MAC102", f"signed by {fingerprint(signed.key)}, which is not trusted here")
    if not fits(signed, message):
        raise refuse(".", "MAC103", f"the signature of {name} does not fit: the commit was changed after it was signed")
    return name


def taken_apart(raw: bytes) -> tuple[bytes, bytes]:
    """What was signed, and the armored signature (empty: none). Works on the bytes, so nothing is left out of either."""
    head, _, body = raw.partition(b"\n\n")
    kept: list[bytes] = []
    signature: list[bytes] = []
    inside = False
    for line in head.split(b"\n"):
        if line.startswith(HEADERS):
            inside = True
            signature.append(line.partition(b" ")[2])
        elif inside and line.startswith(b" "):
            signature.append(line[1:])
        else:
            inside = False
            kept.append(line)
    return b"\n".join(kept) + b"\n\n" + body, b"\n".join(signature)


def read_signature(armored: bytes) -> Signed:
    """Raises ValueError or struct.error."""
    inner = armored.strip().removeprefix(BEGIN)
    if not inner.endswith(END):
        raise ValueError("no end of the signature, or two of them")
    blob = base64.b64decode(b"".join(inner.removesuffix(END).split()), validate=True)
    if blob[:6] != MAGIC or blob[6:10] != b"\0\0\0\1":
        raise ValueError("not version 1 of an SSH signature")
    key, namespace, reserved, hashed, signature = strings(blob[10:], 5)
    algorithm, value = strings(signature, 2)
    return Signed(key, namespace, hashed.decode("ascii"), algorithm, value, reserved)


def strings(blob: bytes, count: int) -> Iterator[bytes]:
    """`count` strings, each with its length before it, and nothing after them."""
    at = 0
    for _ in range(count):
        (length,) = struct.unpack_from(">I", blob, at)
        if at + 4 + length > len(blob):
            raise ValueError("a length beyond the end")
        yield blob[at + 4 : at + 4 + length]
        at += 4 + length
    if at != len(blob):
        raise ValueError("bytes after the end")


def fits(signed: Signed, message: bytes) -> bool:
    """Whether the signature is one of this message, made for Git."""
    if signed.namespace != NAMESPACE or signed.hash not in MESSAGE_HASHES:
        return False
    digest = hashlib.new(signed.hash, message).digest()
    said = MAGIC + b"".join(
        struct.pack(">I", len(one)) + one for one in (NAMESPACE, signed.reserved, signed.hash.encode(), digest)
    )
    try:
        check(signed, said)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, struct.error):
        return False
    return True


def check(signed: Signed, said: bytes) -> None:
    """Raises InvalidSignature, ValueError."""
    kind = first_string(signed.key)
    key = load_ssh_public_key(kind + b" " + base64.b64encode(signed.key))
    match key:
        case ed25519.Ed25519PublicKey() if signed.algorithm == b"ssh-ed25519":
            key.verify(signed.signature, said)
        case rsa.RSAPublicKey() if signed.algorithm in RSA_HASHES and key.key_size >= RSA_BITS:
            key.verify(signed.signature, said, padding.PKCS1v15(), RSA_HASHES[signed.algorithm])
        case ec.EllipticCurvePublicKey() if signed.algorithm == kind:
            r, s = (int.from_bytes(part, "big") for part in strings(signed.signature, 2))
            key.verify(encode_dss_signature(r, s), said, ec.ECDSA(CURVE_HASHES[key.curve.name]))
        case _:
            raise ValueError("key and algorithm do not belong together")


def first_string(blob: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", blob, 0)
    return blob[4 : 4 + length]


def fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
