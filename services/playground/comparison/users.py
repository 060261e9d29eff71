"""Users with real histories to choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.errors import InvalidRequest

MAX_USERS: Final = 10_000


@dataclass(frozen=True)
class User:
    """A user of the shop.

    Attributes:
        user_id: The id.
        history: Ids of items the user bought, oldest first.
    """

    user_id: str
    history: tuple[str, ...]


def read_users(file: Path) -> list[User]:
    """Read users from JSON lines.

    Raises:
        InvalidRequest: A line is no user, or there are more than MAX_USERS; the message names the line.
    """
    users = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                if number > MAX_USERS:
                    raise InvalidRequest(f"--users {file}: more than {MAX_USERS} lines; give fewer users")
                users.append(_user(line, f"--users {file}, line {number}"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"--users {file} cannot be read: {error}") from error
    return users


def _user(line: str, place: str) -> User:
    try:
        fields = json.loads(line)
        user_id, history = fields["user_id"], fields["history"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{place}: not an object with user_id and history") from error
    if not isinstance(user_id, str) or not user_id:
        raise InvalidRequest(f"{place}: user_id is not a text")
    if not isinstance(history, list) or not all(isinstance(item, str) and item for item in history):
        raise InvalidRequest(f"{place}: history is not a list of item ids")
    return User(user_id, tuple(history))


def found_users(users: Sequence[User], text: str, limit: int) -> list[User]:
    """Return the first users whose id contains a text; all that fit if it is empty."""
    wanted = text.casefold()
    return [user for user in users if wanted in user.user_id.casefold()][:limit]
