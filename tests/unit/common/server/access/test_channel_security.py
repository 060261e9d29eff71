"""What a client shows and checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.server.access.channel_security import BadTokenFile, ChannelSecurity


def test_without_settings_nothing_is_secured():
    """No authorities and no token is a plain connection; either of them is not."""
    assert ChannelSecurity.of().is_plain
    assert not ChannelSecurity.of(authorities=Path("ca.pem")).is_plain
    assert not ChannelSecurity.of(token_file=Path("token")).is_plain


def test_the_token_is_read_from_its_file(tmp_path: Path):
    """White space around the token is not part of it."""
    (tmp_path / "token").write_text(" abc\n")
    assert ChannelSecurity.of(token_file=tmp_path / "token").open_token().get() == (("authorization", "Bearer abc"),)


@pytest.mark.parametrize("content", ["", "\n", "two words", "line\nline", "näive"])
def test_a_file_without_exactly_one_token_is_refused(tmp_path: Path, content: str):
    """An empty file, several words and other scripts are refused by the file's name, without their content."""
    (tmp_path / "token").write_text(content)
    with pytest.raises(BadTokenFile, match="token") as error:
        ChannelSecurity.of(token_file=tmp_path / "token").open_token()
    assert "words" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    """A file that does not exist is named."""
    with pytest.raises(BadTokenFile, match="missing"):
        ChannelSecurity.of(token_file=tmp_path / "missing").open_token()
