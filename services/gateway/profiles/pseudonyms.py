"""Keyed pseudonyms: what is stored in place of a user's id.

A pseudonym is an HMAC (RFC 2104) of the id. Whoever has the stored profiles alone cannot tell whose they are, and
cannot try ids, which takes the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from common.errors import ShortlistError

_KEY_BYTES: Final = 32
_PSEUDONYM_CHARACTERS: Final = 32  # 128 bits: among a billion users, no two share one


class BadPseudonymKey(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The key of the pseudonyms cannot be read or made; the message names its file."""

    status = "FAILED_PRECONDITION"


class Pseudonyms:
    """Makes pseudonyms by a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of_user(self, user_id: str) -> str:
        """Return the pseudonym of a user's id: 32 hex digits."""
        return self._of("user", user_id)

    def of_event(self, event_id: str) -> str:
        """Return the pseudonym of an event's id, into which callers often put the user's: 32 hex digits."""
        return self._of("event", event_id)

    def key_check(self) -> str:
        """Return what shows whether a store was written with this key, and nothing else."""
        return self._of("key", "")

    def _of(self, purpose: str, text: str) -> str:
        message = f"{purpose}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:_PSEUDONYM_CHARACTERS]


def read_key(file: Path) -> Pseudonyms:
    """Read the key of a file: 64 hex digits; raises BadPseudonymKey."""
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise BadPseudonymKey(
            f"the key of the profiles' pseudonyms in {file} cannot be read ({error}); without it no profile can be "
            "found: restore it"
        ) from error
    if len(key) != _KEY_BYTES:
        raise BadPseudonymKey(f"{file} must hold a key of {_KEY_BYTES} bytes as {2 * _KEY_BYTES} hex digits")
    return Pseudonyms(key)


def read_or_make_key(file: Path) -> Pseudonyms:
    """Read the key of a file, which is made if it does not exist, readable by its owner alone.

    Raises:
        BadPseudonymKey: It cannot be read or made.
    """
    try:
        if not file.exists():
            _make_key(file)
    except OSError as error:
        raise BadPseudonymKey(
            f"{file} cannot be written: {error.strerror}; name another with --pseudonym-key-file"
        ) from error
    return read_key(file)


def _make_key(file: Path) -> None:
    """Write a new key; another process that makes one at the same time must never see half of it."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):  # the other process was faster
            os.link(temporary, file)
    finally:
        temporary.unlink()
