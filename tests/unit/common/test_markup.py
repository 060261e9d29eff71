"""Published text loses its markup and keeps its words."""

from __future__ import annotations

import time

import pytest

from common.markup import plain_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Green tea, 20 bags",
        "two  spaces\nand lines",
        "a < b",
        "a<b and c",
        "under 5 < 6 and 7 > 6",
        "I <3 you",
        '5" pan',
        "R&D",
        "AT&T & Co",
        "?a=1&region=x",
        "&nosuchname;",
        "汉字 < 茶 & 😀",
        "</3 >",
    ],
)
def test_text_without_markup_is_the_same(text: str):
    """A lone sign, an ampersand, other scripts and spaces stay."""
    assert plain_text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>Pens</b><br>blue &amp; black", "Pens blue & black"),
        ("<p>汉字 😀 &euro;5</p>", "汉字 😀 €5"),
        ("1 &lt; 2 <i>and</i> R&D", "1 < 2 and R&D"),
        ("&lt;p&gt;once too often&lt;/p&gt;", "once too often"),
        ("Tea &amp;amp; Coffee", "Tea & Coffee"),
        ("&#39;x&#39;&nbsp;&#x79;", "'x' y"),
        ("<script>var x = '<b>';</script>Tape<style>p{}</style>", "Tape"),
        ("<!-- <b>hidden</b> -->seen", "seen"),
        ("<ul><li>One<li>Two</ul>", "One Two"),
        ("<td>a</td><td>b</td>", "a b"),
        ("<html><head><title>t</title></head><body>b</body></html>", "t b"),
        ("<img alt='x'> <br/>", ""),
    ],
)
def test_markup_goes(text: str, expected: str):
    """Tags become spaces, entities their characters; scripts, styles and comments leave whole."""
    assert plain_text(text) == expected


@pytest.mark.parametrize("piece", ["<b>", "<b><p>", "<!--", "<table>", "&amp;", "<", "&", "<a ", "<div>", "<a<b>"])
def test_hostile_text_is_read_in_time(piece: str):
    """The longest description, of nested or broken tags, takes milliseconds of the processor."""
    start_s = time.process_time()
    plain_text(piece * (20_000 // len(piece)))
    assert time.process_time() - start_s < 1
