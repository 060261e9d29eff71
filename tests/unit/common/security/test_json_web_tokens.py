"""JSON web tokens are checked against the issuer's keys."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.security.callers import Scope
from common.security.json_web_tokens import BadKeySet, FileKeySet, JwtVerifier, open_key_set
from testing.security.web_tokens import AUDIENCE, ISSUER, Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Return an issuer."""
    return Issuer()


@pytest.fixture(scope="module")
def keys(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of its keys."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_text(issuer.key_set())
    return file


@pytest.fixture
def verifier(keys: Path) -> JwtVerifier:
    """Return a verifier of its tokens."""
    return JwtVerifier(FileKeySet(keys), ISSUER, AUDIENCE)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_of_the_issuer_names_the_caller(verifier: JwtVerifier, issuer: Issuer, algorithm: str):
    """A valid token gives its client and those of its scopes that exist here."""
    caller = await verifier.verify(issuer.token(algorithm, client_id="shop", scope="openid recommend record"))
    assert caller is not None
    assert (caller.name, caller.scopes) == ("jwt:shop", {Scope.RECOMMEND, Scope.RECORD})


@pytest.mark.parametrize("claims", [{"scp": ["read", "other"]}, {"scope": "read"}, {"scp": "read"}])
async def test_scopes_are_words_or_a_list(verifier: JwtVerifier, issuer: Issuer, claims: dict[str, Any]):
    """Both claims that issuers use are read."""
    caller = await verifier.verify(issuer.token(**claims))
    assert caller is not None
    assert caller.scopes == {Scope.READ}


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": time.time() - 60},
        {"exp": None},
        {"nbf": time.time() + 3_600},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"headers": {"kid": "unknown"}},
        {"headers": {"kid": "ES256"}},
    ],
    ids=lambda claims: "-".join(f"{key}-{type(value).__name__}" for key, value in claims.items()),
)
async def test_what_is_not_for_us_or_not_now_is_refused(verifier: JwtVerifier, issuer: Issuer, claims: dict[str, Any]):
    """Expired tokens, those of other issuers, for other audiences or with another key are refused."""
    assert await verifier.verify(issuer.token(scope="administer", **claims)) is None


async def test_a_forged_token_is_refused(verifier: JwtVerifier, issuer: Issuer):
    """Tokens of another key, without a signature, signed by the public key as a secret, or altered are refused."""
    good = issuer.token(scope="read")
    head, payload, signature = good.split(".")
    altered = json.loads(base64.urlsafe_b64decode(payload + "=="))
    altered["scope"] = "administer"
    changed = base64.urlsafe_b64encode(json.dumps(altered).encode()).rstrip(b"=").decode()
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300}
    forged = [
        Issuer().token(scope="administer"),
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.",
        jwt.encode(claims, None, "none", headers={"kid": "RS256"}),
        jwt.encode(claims, issuer.key_set() * 2, "HS256", headers={"kid": "RS256"}),
        "x" * 100_000,
    ]
    assert [await verifier.verify(token) for token in forged] == [None] * len(forged)
    assert await verifier.verify(good) is not None


@given(text=st.one_of(st.text(max_size=60), st.lists(st.text(max_size=20), min_size=3, max_size=3).map(".".join)))
async def test_any_text_is_refused_without_a_crash(verifier_of_any_text: JwtVerifier, text: str):
    """No text that is not a token is accepted or raises."""
    assert await verifier_of_any_text.verify(text) is None


@pytest.fixture(scope="module")
def verifier_of_any_text(keys: Path) -> JwtVerifier:
    """Return a verifier that all examples share."""
    return JwtVerifier(FileKeySet(keys), ISSUER, AUDIENCE)


async def test_a_known_token_is_not_checked_again_until_it_expires(
    verifier: JwtVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
):
    """A token is verified once a minute, and no longer than it is valid."""
    token = issuer.token(scope="read", exp=time.time() + 30)
    assert await verifier.verify(token) is not None
    monkeypatch.setattr(jwt, "decode", None)
    assert await verifier.verify(token) is not None
    monkeypatch.undo()
    later = time.time() + 45
    monkeypatch.setattr(time, "time", lambda: later)
    assert token not in repr(verifier)
    known = verifier._verified.get(next(iter(verifier._verified._values)))
    assert known is not None
    assert known[1] < later


async def test_keys_are_read_again_when_the_file_changes(tmp_path: Path, issuer: Issuer):
    """A key that was added is found, and one that was taken out is not."""
    file = tmp_path / "keys.json"
    file.write_text(issuer.key_set())
    keys = FileKeySet(file)
    keys._keys._check_interval_s = keys._keys._next_check_s = 0.0
    assert await keys.find("RS256") is not None
    file.write_text(Issuer("-2").key_set())
    assert await keys.find("RS256") is None
    assert await keys.find("RS256-2") is not None


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "[1]"])
def test_a_bad_key_set_is_refused(tmp_path: Path, content: str):
    """A file without a public key of a signature is refused by name; shared secrets do not count."""
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(BadKeySet, match=r"keys\.json"):
        open_key_set(str(tmp_path / "keys.json"))


def test_a_missing_file_is_named(tmp_path: Path):
    """A file that does not exist is named."""
    with pytest.raises(BadKeySet, match="nothing"):
        open_key_set(str(tmp_path / "nothing"))
