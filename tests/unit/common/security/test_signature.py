"""Signatures, and the files of their keys."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from common.security.signature import (
    BadKey,
    BadSignature,
    PublicKeys,
    generate_keys,
    read_private_key,
    read_public_keys,
    sign,
)

CONTENT = b'{"release": 1}'


def _pair(folder: Path, name: str = "key") -> tuple[Path, Path]:
    generate_keys(folder / name, folder / f"{name}.pub")
    return folder / name, folder / f"{name}.pub"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a private and a public key."""
    return _pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def keys(pair: tuple[Path, Path]) -> PublicKeys:
    """Return the trusted key."""
    return read_public_keys(pair[1])


def test_a_signature_of_the_key_is_accepted(pair: tuple[Path, Path], keys: PublicKeys):
    """What was signed passes."""
    keys.require(CONTENT, sign(CONTENT, read_private_key(pair[0])))


def test_only_the_owner_reads_the_private_key(pair: tuple[Path, Path]):
    """The file of the private key is readable by nobody else."""
    assert stat.S_IMODE(pair[0].stat().st_mode) == 0o600


def test_no_signature_and_anothers_are_refused(keys: PublicKeys, tmp_path: Path):
    """Without a signature, or with one of another key, the key that is required is named."""
    with pytest.raises(BadSignature, match=r"it is not signed; a signature of the key [0-9a-f]{16} is required"):
        keys.require(CONTENT, None)
    other = sign(CONTENT, read_private_key(_pair(tmp_path)[0]))
    with pytest.raises(BadSignature, match=r"it is signed by the key '[0-9a-f]{16}'; the key [0-9a-f]{16} is required"):
        keys.require(CONTENT, other)


def test_anothers_signature_under_the_keys_name_is_refused(keys: PublicKeys, pair: tuple[Path, Path], tmp_path: Path):
    """A signature that claims to be of the trusted key is checked, not believed."""
    ours = json.loads(sign(CONTENT, read_private_key(pair[0])))
    theirs = json.loads(sign(CONTENT, read_private_key(_pair(tmp_path)[0])))
    forged = json.dumps({**theirs, "key_id": ours["key_id"]}).encode()
    with pytest.raises(BadSignature, match="altered"):
        keys.require(CONTENT, forged)


@given(at=st.integers(0, len(CONTENT) - 1), flip=st.integers(1, 255))
def test_any_altered_byte_is_noticed(pair: tuple[Path, Path], keys: PublicKeys, at: int, flip: int):
    """A content with one other byte is refused."""
    altered = bytearray(CONTENT)
    altered[at] ^= flip
    with pytest.raises(BadSignature, match="altered"):
        keys.require(bytes(altered), sign(CONTENT, read_private_key(pair[0])))


@given(signature=st.binary(max_size=200))
def test_any_other_file_is_refused(keys: PublicKeys, signature: bytes):
    """Whatever is in the signature's file is refused without a crash."""
    with pytest.raises(BadSignature):
        keys.require(CONTENT, signature)


@pytest.mark.parametrize(
    "change", [{"algorithm": "none"}, {"signature": "é"}, {"signature": ""}, {"extra": "1"}, {"key_id": "x" * 5_000}]
)
def test_an_altered_signature_is_refused(pair: tuple[Path, Path], keys: PublicKeys, change: dict[str, str]):
    """Other algorithms, broken text and further fields are refused, in a short message."""
    whole = {**json.loads(sign(CONTENT, read_private_key(pair[0]))), **change}
    with pytest.raises(BadSignature) as error:
        keys.require(CONTENT, json.dumps(whole).encode())
    assert len(str(error.value)) < 300


def test_several_keys_may_be_trusted(pair: tuple[Path, Path], tmp_path: Path):
    """While one key replaces another, signatures of both pass."""
    private, public = _pair(tmp_path)
    both = tmp_path / "both.pub"
    both.write_bytes(pair[1].read_bytes() + public.read_bytes())
    keys = read_public_keys(both)
    for file in (private, pair[0]):
        keys.require(CONTENT, sign(CONTENT, read_private_key(file)))


def test_keys_are_never_overwritten(pair: tuple[Path, Path]):
    """A file that exists is refused, and stays."""
    before = pair[0].read_bytes()
    with pytest.raises(BadKey, match="name files that do not exist"):
        generate_keys(*pair)
    assert pair[0].read_bytes() == before


def test_other_keys_are_refused(pair: tuple[Path, Path], tmp_path: Path):
    """A private key in place of a public one, another kind of key, no key and no file are refused by name."""
    curve = tmp_path / "curve"
    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    curve.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    curve_public = tmp_path / "curve.pub"
    curve_public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    for file in (curve, pair[1], tmp_path / "nothing"):
        with pytest.raises(BadKey, match=file.name):
            read_private_key(file)
    for file in (curve_public, pair[0], tmp_path / "nothing"):
        with pytest.raises(BadKey, match=file.name):
            read_public_keys(file)
