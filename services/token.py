"""``python -m services.token``: makes a token for a caller, and its entry for the access file."""

from __future__ import annotations

import json
import sys

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.security.callers import Scope, new_token
from common.server.settings import load_settings


class TokenSettings(BaseSettings):
    """Prints a new token on stdout, and on stderr the entry of the access file that admits it."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="SHORTLIST_TOKEN_")

    caller: str = Field(min_length=1, description="Name of the program that gets the token.")
    scopes: str = Field(description="What it may do, separated by commas: recommend, record, read, administer.")

    @field_validator("scopes")
    @classmethod
    def _known_scopes(cls, value: str) -> str:
        for word in value.split(","):
            if word.strip() not in set(Scope):
                raise ValueError(f"{word.strip()!r} is not one of {', '.join(Scope)}")
        return value


def main() -> int:
    """Make a token; returns the exit code."""
    settings = load_settings(TokenSettings, "python -m services.token", sys.argv[1:])
    token, digest = new_token()
    sys.stdout.write(token + "\n")
    sys.stderr.write(_entry(settings, digest))
    return 0


def _entry(settings: TokenSettings, digest: str) -> str:
    name = json.dumps(settings.caller, ensure_ascii=False)  # TOML quotes strings as JSON does
    scopes = json.dumps([word.strip() for word in settings.scopes.split(",")])
    return f'[callers.{name}]\ntoken_sha256 = ["{digest}"]\nscopes = {scopes}\n'


if __name__ == "__main__":
    sys.exit(main())
