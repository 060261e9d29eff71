"""Feeds in XML are read one product at a time."""

from __future__ import annotations

import bz2
from pathlib import Path

from pipeline.data.adapters.shops.merchant_xml import is_feed, read_feed

FEED = '<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>{}</channel></rss>'


def test_attributes_become_columns(tmp_path: Path):
    """Without their namespace; an attribute that a product lacks is empty."""
    items = "<item><g:id>1</g:id><link>http://x</link></item><item><g:id>2</g:id><g:size> L </g:size></item>"
    (tmp_path / "feed.xml").write_text(FEED.format(items))
    assert read_feed(tmp_path / "feed.xml").to_dicts() == [
        {"id": "1", "link": "http://x", "size": None},
        {"id": "2", "link": None, "size": "L"},
    ]


def test_a_feed_is_known_by_its_namespace(tmp_path: Path):
    """Packed and in UTF-16 as well; other XML and other files are none."""
    text = FEED.format("")
    (tmp_path / "a.XML").write_text(text)
    (tmp_path / "b.xml.bz2").write_bytes(bz2.compress(text.encode()))
    (tmp_path / "c.xml").write_bytes(text.encode("utf-16"))
    (tmp_path / "d.xml").write_text("<urlset/>")
    (tmp_path / "e.txt").write_text(text)
    assert [file.name for file in sorted(tmp_path.iterdir()) if is_feed(file)] == ["a.XML", "b.xml.bz2", "c.xml"]
