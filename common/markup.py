"""Text as shops publish it, with HTML's tags and entities, as plain text: the same offline and online."""

from __future__ import annotations

import html
import re
from html.entities import html5
from typing import Final

from selectolax.lexbor import LexborHTMLParser

# A character reference with its semicolon. Names without one would change "?a=1&region=x", which HTML reads as ®ion.
_REFERENCE: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# The beginning of a comment, or of a tag that ends before the next "<": "a < b", "<3" and "a <b" are text.
_TAG: Final = re.compile(r"<(?:!--|(?:/?|!|\?)[A-Za-z][^<>]*>)")
_LONE: Final = re.compile(rf"<(?!{_TAG.pattern[1:]})")
_DROPPED: Final = ["script", "style", "template"]
# Markup is often escaped once too often; what is still escaped after this many rounds is text.
_MAX_ROUNDS: Final = 5


def plain_text(text: str) -> str:
    """Return text without tags and entities, spaces made single; text that has neither is returned as it is.

    A tag becomes a space. Scripts and styles leave with their content. Escaped markup is markup too.
    """
    if "<" not in text and "&" not in text:
        return text
    for _ in range(_MAX_ROUNDS):
        bare = _REFERENCE.sub(_character, text)
        if _TAG.search(bare):
            bare = _without_tags(bare)
        if bare == text:
            return text
        text = " ".join(bare.split())
    return text


def _character(reference: re.Match[str]) -> str:
    name = reference.group()
    return html.unescape(name) if name[1] == "#" else html5.get(name[1:], name)


def _without_tags(text: str) -> str:
    escaped = _LONE.sub("&lt;", text.replace("&", "&amp;"))
    # The parser joins the texts around a tag that has no place, such as <td> without a table.
    tree = LexborHTMLParser(_TAG.sub(r" \g<0>", escaped), is_fragment=True)
    tree.strip_tags(_DROPPED)
    return tree.text()
