"""Published text loses its mark-up and keeps its words."""

from __future__ import annotations

import pytest

from pipeline.data.ingest.plain_text import plain_cell, plain_list, plain_literal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>Pens</b><br>blue &amp; black", "Pens blue & black"),
        ("a  b\n\tc ", "a b c"),
        ("<script>var x = '<b>';</script>Tape", "Tape"),
        ("under 5 < 6 and 7 > 6", "under 5 < 6 and 7 > 6"),
        ("1 &lt; 2", "1 < 2"),
        ("&lt;p&gt;once too often&lt;/p&gt;", "once too often"),
        ("<br/>", None),
        ("", None),
        (None, None),
    ],
)
def test_markup_goes_and_words_stay(text: str | None, expected: str | None):
    """Tags, scripts and entities are resolved, a lone sign is text, and what holds nothing is None."""
    assert plain_cell(text) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [(["a", "<i>b</i>"], "a b"), ("a", "a"), ([], None), ([1, None], None), (None, None), (3, None)],
)
def test_lists_are_joined(parts: object, expected: str | None):
    """A list of texts is one text; what is none has none."""
    assert plain_list(parts) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['A', \"B's\"]", "A B's"),
        ("[broken", "[broken"),
        ("['', 'cut', \"o", "cut o"),
        ("['5' x', 'b']", "5' x b"),
        ("plain", "plain"),
        (None, None),
        ("[]", None),
    ],
)
def test_a_list_as_python_writes_it_is_read(text: str | None, expected: str | None):
    """A written list is joined, and what only looks like one stays as it is."""
    assert plain_literal(text) == expected
