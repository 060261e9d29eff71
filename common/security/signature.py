"""Ed25519 signatures (RFC 8032), and the files of their keys."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ShortlistError

# Signed before the content, so that a signature made for something else is none of ours.
_CONTEXT: Final = b"shortlist release manifest v1\n"
_END: Final = b"-----END PUBLIC KEY-----"
_KEY_ID_CHARACTERS: Final = 16


class BadKey(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """A file of a key cannot be used; the message names it."""

    status = "FAILED_PRECONDITION"


class BadSignature(ShortlistError):  # noqa: N818
    """There is no signature of a trusted key."""

    status = "FAILED_PRECONDITION"


class _Signature(BaseModel):
    """The content of a signature's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: str
    key_id: str
    signature: str


class PublicKeys:
    """Keys whose signatures are trusted.

    Args:
        keys: The keys; several while one replaces another.
    """

    def __init__(self, keys: Sequence[Ed25519PublicKey]) -> None:
        self._keys = {key_id(key): key for key in keys}

    def require(self, content: bytes, signature: bytes | None) -> None:
        """Check the signature of a content.

        Args:
            content: What was signed.
            signature: What `sign` returned; None if there is none.

        Raises:
            BadSignature: It is missing, of another key, or of another content.
        """
        trusted = ", ".join(self._keys)
        if signature is None:
            raise BadSignature(f"it is not signed; a signature of the key {trusted} is required")
        try:
            given = _Signature.model_validate_json(signature)
            value = base64.b64decode(given.signature, validate=True)
        except ValidationError as error:
            raise BadSignature("its signature cannot be read; sign it again") from error
        except ValueError as error:
            raise BadSignature("its signature is not base64; sign it again") from error
        if given.algorithm != "ed25519" or given.key_id not in self._keys:
            raise BadSignature(f"it is signed by the key {given.key_id[:64]!r}; the key {trusted} is required")
        try:
            self._keys[given.key_id].verify(value, _CONTEXT + content)
        except InvalidSignature as error:
            raise BadSignature("its signature is that of another content; it was altered since") from error


def generate_keys(private: Path, public: Path) -> str:
    """Write a new pair of keys, the private one readable by its owner alone; return the id of the pair.

    Raises:
        BadKey: One of the files exists, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    try:
        _write_new(
            private,
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            mode=0o600,
        )
        _write_new(
            public, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo), mode=0o644
        )
    except OSError as error:
        raise BadKey(f"{error.filename} cannot be written: {error.strerror}; name files that do not exist") from error
    return key_id(key.public_key())


def read_private_key(file: Path) -> Ed25519PrivateKey:
    """Read a key to sign with; raises BadKey."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{file} has no private key that can be read: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey(f"{file} is no Ed25519 key; make one with `python -m pipeline signing-key`")
    return key


def read_public_keys(file: Path) -> PublicKeys:
    """Read trusted keys: one or more public keys in PEM, one after the other; raises BadKey."""
    try:
        parts = file.read_bytes().split(_END)[:-1]
        keys = [serialization.load_pem_public_key(part + _END + b"\n") for part in parts]
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{file} has no public key that can be read: {error}") from error
    usable = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not usable or len(usable) != len(keys):
        raise BadKey(f"{file} must hold public keys of Ed25519 in PEM and no others")
    return PublicKeys(usable)


def sign(content: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the signature of a content, as the text of its file."""
    value = base64.b64encode(key.sign(_CONTEXT + content)).decode()
    signature = _Signature(algorithm="ed25519", key_id=key_id(key.public_key()), signature=value)
    return (signature.model_dump_json(indent=1) + "\n").encode()


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_KEY_ID_CHARACTERS]


def _write_new(file: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
