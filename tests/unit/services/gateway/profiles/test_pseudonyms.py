"""Keyed pseudonyms and their key."""

from __future__ import annotations

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.profiles.pseudonyms import BadPseudonymKey, Pseudonyms, read_key, read_or_make_key


def test_a_pseudonym_is_the_hmac_of_the_id():
    """The value is HMAC-SHA256 over purpose and id, so that another program with the key can compute it."""
    pseudonyms = Pseudonyms(bytes(range(32)))
    assert pseudonyms.of_user("ann") == "c5339e04520cd64ef2019e1014ca10c3"


@given(user=st.text(), other=st.text())
def test_ids_and_purposes_and_keys_give_different_pseudonyms(user: str, other: str):
    """Two ids have two pseudonyms, a user's is not an event's, and another key gives another one."""
    one, two = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)
    assert (one.of_user(user) == one.of_user(other)) == (user == other)
    assert len({one.of_user(user), one.of_event(user), two.of_user(user), one.key_check()}) == 4


def test_the_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path):
    """The first use makes a key that only its owner reads, and later uses take the same."""
    first = read_or_make_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert read_or_make_key(tmp_path / "key").of_user("ann") == first.of_user("ann")
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_processes_that_start_together_share_the_key(tmp_path: Path):
    """Several that make the key at the same time all end with the same one."""
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: _made_by_a_process(tmp_path / "key"), range(4)))
    assert len(set(made)) == 1


def _made_by_a_process(file: Path) -> str:
    program = "import sys, pathlib; from services.gateway.profiles.pseudonyms import read_or_make_key as read; "
    command = [sys.executable, "-c", program + "print(read(pathlib.Path(sys.argv[1])).of_user('ann'))", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own program


@pytest.mark.parametrize("content", ["", "secret", "ab" * 31, "ab" * 33, "é"])
def test_a_bad_key_is_refused_without_its_content(tmp_path: Path, content: str):
    """A file that holds no key of 32 bytes is refused by name."""
    (tmp_path / "key").write_text(content)
    with pytest.raises(BadPseudonymKey, match="key") as error:
        read_key(tmp_path / "key")
    assert "secret" not in str(error.value)


def test_a_key_that_cannot_be_written_is_named(tmp_path: Path):
    """A folder that does not exist is an error with the flag to change."""
    with pytest.raises(BadPseudonymKey, match=r"nowhere/key cannot be written.*--pseudonym-key-file"):
        read_or_make_key(tmp_path / "nowhere" / "key")
