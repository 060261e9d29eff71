"""The command that makes tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.security.callers import Scope, read_callers
from services.token import main


@pytest.mark.parametrize("name", ["shop", 'the "shop" 💚', "a.b"])
def test_the_entry_admits_the_token(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The printed entry, put into a file, admits the printed token with its scopes, and does not hold the token."""
    monkeypatch.setattr("sys.argv", ["token", "--caller", name, "--scopes", "recommend, record"])
    assert main() == 0
    printed = capsys.readouterr()
    token = printed.out.strip()
    file = tmp_path / "access.toml"
    file.write_text(printed.err)
    caller = read_callers(file).with_token(token)
    assert caller is not None
    assert (caller.name, caller.scopes) == (name, {Scope.RECOMMEND, Scope.RECORD})
    assert token not in printed.err
    assert token.startswith("shortlist_")


def test_every_token_is_another(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Two calls make two tokens of 43 random characters."""
    monkeypatch.setattr("sys.argv", ["token", "--caller", "shop", "--scopes", "read"])
    main()
    main()
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(first) == len("shortlist_") + 43


def test_an_unknown_scope_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A scope that does not exist is named with those that do."""
    monkeypatch.setattr("sys.argv", ["token", "--caller", "shop", "--scopes", "read,write"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "'write' is not one of recommend, record, read, administer" in capsys.readouterr().err
