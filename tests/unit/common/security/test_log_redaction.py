"""The texts of requests are kept out of the log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.security.log_redaction import hide_quoted_texts


def _logged(**fields: Any) -> dict[str, Any]:
    return dict(hide_quoted_texts(None, "info", fields))


@pytest.mark.parametrize(
    ("message", "logged"),
    [
        ("sources[0]: no source 'ann@shop'; there are popular", "sources[0]: no source '…'; there are popular"),
        ("""items: "ann's jam" is given more than once""", "items: '…' is given more than once"),
        (r"items: 'a\'b' and 'c'", "items: '…' and '…'"),
        ("limit: must be 1 to 500, is 0", "limit: must be 1 to 500, is 0"),
    ],
)
def test_what_is_quoted_is_hidden(message: str, logged: str):
    """The message stays, what the caller sent does not."""
    assert _logged(detail=message)["detail"] == logged


@given(text=st.text(min_size=3).filter(lambda text: text not in "no item …; check it"))
def test_no_text_survives_its_quotes(text: str):
    """Whatever is written by `repr` is hidden whole."""
    assert _logged(detail=f"no item {text!r}; check it")["detail"] == "no item '…'; check it"


def test_degradations_and_exceptions_are_messages_too():
    """Details by kind are hidden, and the message of an exception; its stack still names files and lines."""
    stack = "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    x['k']\nKeyError: 'ann'"
    line = _logged(degradations={"RETRIEVAL": "no 'jam'"}, exception=stack, method="/a/'b'", items=3)
    assert line["degradations"] == {"RETRIEVAL": "no '…'"}
    assert line["exception"].endswith("  File \"a.py\", line 3, in f\n    x['k']\nKeyError: '…'")
    assert (line["method"], line["items"]) == ("/a/'b'", 3)
