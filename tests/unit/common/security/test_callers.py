"""The file of the callers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from common.security.callers import BadAccessFile, CallerLimits, Callers, Scope, new_token, read_callers


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _read(tmp_path: Path, text: str) -> Callers:
    (tmp_path / "access.toml").write_text(text)
    return read_callers(tmp_path / "access.toml")


def test_callers_are_found_by_any_of_their_tokens(tmp_path: Path):
    """A caller may have two tokens while one replaces the other; a token that is not listed is nobody's."""
    callers = _read(
        tmp_path,
        f"""
        [callers.shop]
        token_sha256 = ["{_hash("old")}", "{_hash("new")}"]
        scopes = ["recommend", "record"]
        [callers.deploy]
        token_sha256 = ["{_hash("other")}"]
        scopes = ["administer"]
        """,
    )
    found = [callers.with_token(token) for token in ("old", "new", "other")]
    assert [caller and caller.name for caller in found] == ["shop", "shop", "deploy"]
    assert found[0] is not None
    assert found[0].scopes == {Scope.RECOMMEND, Scope.RECORD}
    assert [callers.with_token(token) for token in ("", "ol", "old ", _hash("old"))] == [None] * 4


def test_callers_are_found_by_a_name_in_their_certificate(tmp_path: Path):
    """One of a certificate's names is enough."""
    text = '[callers.gateway]\ncertificate_names = ["gateway.shop"]\nscopes = ["recommend"]'
    callers = _read(tmp_path, text)
    caller = callers.with_certificate(["127.0.0.1", "gateway.shop"])
    assert caller is not None
    assert caller.name == "gateway"
    assert callers.with_certificate(["gateway"]) is None


def test_a_caller_may_have_limits_of_its_own(tmp_path: Path):
    """Limits are read; a caller without any has those of the server."""
    text = '[callers.{}]\ntoken_sha256 = ["{}"]\nscopes = ["read"]\n'
    limited = text.format("a", _hash("a")) + "calls_per_s = 2.5\nburst = 10\nmax_calls = 3\n"
    callers = _read(tmp_path, limited + text.format("b", _hash("b")))
    one, other = callers.with_token("a"), callers.with_token("b")
    assert one is not None
    assert other is not None
    assert (one.limits, other.limits) == (CallerLimits(2.5, 10, 3), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[callers.a]\nscopes = []", "callers.a.scopes"),
        ("[callers.a]\nscopes = ['write']", "callers.a.scopes.0"),
        ("[callers.a]\nscopes = ['read']\ntoken = 'secret'", "callers.a.token"),
        ("[callers.a]\nscopes = ['read']\ntoken_sha256 = ['secret']", "callers.a.token_sha256.0"),
        ("[callers.a]\nscopes = ['read']\nmax_calls = -1", "callers.a.max_calls"),
        ("[caller.a]", "caller: Extra inputs"),
        ("[callers", "cannot be read as TOML"),
    ],
)
def test_a_bad_file_is_refused_by_the_entry(tmp_path: Path, text: str, message: str):
    """What is wrong is named by its entry, and no value of it is repeated."""
    with pytest.raises(BadAccessFile, match=r"access\.toml") as error:
        _read(tmp_path, text)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("key", [f"token_sha256 = ['{_hash('x')}']", "certificate_names = ['x']"])
def test_no_two_callers_share_a_credential(tmp_path: Path, key: str):
    """A token or a name of two callers is refused, since it could not be said who calls."""
    entry = f"[callers.{{}}]\nscopes = ['read']\n{key}\n"
    with pytest.raises(BadAccessFile, match="a and b have the same"):
        _read(tmp_path, entry.format("a") + entry.format("b"))


def test_a_missing_file_is_named(tmp_path: Path):
    """A file that does not exist is refused by its name."""
    with pytest.raises(BadAccessFile, match="nothing"):
        read_callers(tmp_path / "nothing")


def test_a_new_token_comes_with_its_hash():
    """The hash is that of the token."""
    token, digest = new_token()
    assert _hash(token) == digest
