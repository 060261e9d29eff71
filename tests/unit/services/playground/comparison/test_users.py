"""Users to choose from."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import InvalidRequest
from services.playground.comparison.users import User, found_users, read_users


def test_users_are_read(tmp_path: Path):
    """Lines are users; empty ones and further fields do not count."""
    file = tmp_path / "users.jsonl"
    file.write_text('{"user_id": "7", "history": ["a", "b"], "town": "x"}\n\n{"user_id": "8", "history": []}\n')
    assert read_users(file) == [User("7", ("a", "b")), User("8", ())]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("nothing", "not an object"),
        ('{"user_id": "7"}', "not an object with user_id and history"),
        ('{"user_id": 7, "history": []}', "user_id is not a text"),
        ('{"user_id": "7", "history": [1]}', "history is not a list of item ids"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, fault: str):
    """The message has the number of the line."""
    file = tmp_path / "users.jsonl"
    file.write_text('{"user_id": "1", "history": []}\n' + line)
    with pytest.raises(InvalidRequest, match=f"line 2: {fault}"):
        read_users(file)


def test_a_missing_file_is_named(tmp_path: Path):
    """The message names the setting."""
    with pytest.raises(InvalidRequest, match=r"--users .*none\.jsonl cannot be read"):
        read_users(tmp_path / "none.jsonl")


def test_users_are_found_by_a_part_of_their_id():
    """Case does not matter, and at most `limit` are returned."""
    users = [User("Ann", ()), User("bob", ()), User("joanna", ())]
    assert [user.user_id for user in found_users(users, "ann", 5)] == ["Ann", "joanna"]
    assert len(found_users(users, "", 2)) == 2
