"""Google Merchant feeds in both forms become a dataset."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.schema import BadDataset

COLUMNS = (
    "id\ttitle\tdescription\tlink\timage link\tprice\tsale price\tsale price effective date\tavailability\tbrand\t"
    "google product category\tproduct type\titem group id\tgtin\tcolor\tsize\n"
)
ROWS = (
    "001\tTea\tGreen &amp; <b>good</b>\thttp://x\thttp://y\t15.00 USD\t12.50 USD\t\tin_stock\tLeaf\t2073\t"
    "Home > Tea>Green\tG1\t0885909950805\tgreen\t38\n"
    "002\tPot\t\thttp://x\thttp://y\t1,015.00 USD\t10.00 USD\t2016-02-24T11:07+0100/2016-02-29T23:07+0100\t"
    "out_of_stock\tLeaf\t2073\t\tG1\t885909950805\t\t40\n"
    "003\tCup\t\thttp://x\thttp://y\tfree\t\t\tpreorder\t\t\t\t\t\t\t\n"
    "004\tJug\t\thttp://x\thttp://y\t3 USD\t\t\tbackorder\t\t\t\t\t\t\t\n"
)
RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title><link>http://x</link>
<item><g:id>001</g:id><title>Tea</title><description>Very <b>good</b> tea</description>
<g:price>15.00 USD</g:price><g:availability>in_stock</g:availability>
<g:product_type>Home &gt; Tea</g:product_type><g:product_type>Gifts</g:product_type>
<g:shipping><g:country>US</g:country><g:price>1 USD</g:price></g:shipping></item>
<item><g:id>002</g:id><g:title><![CDATA[Pot & Co]]></g:title><g:availability>out of stock</g:availability></item>
</channel></rss>"""
ATOM = """<?xml version="1.0" encoding="ISO-8859-1"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>
<entry><g:id>001</g:id><title>Müsli</title><link href="http://x"/><g:gtin>0123</g:gtin></entry></feed>"""


def test_a_tab_separated_feed(tmp_path: Path):
    """Prices lose their currency, codes stay text, and the shop's own category goes before Google's."""
    (tmp_path / "feed.txt").write_text(COLUMNS + ROWS)
    dataset = prepare("google-merchant", tmp_path / "feed.txt")
    assert dataset.items.select("item_id", "title", "category", "price", "available", "gtin", "size").rows() == [
        ("001", "Tea", "Home > Tea > Green", 12.5, True, "0885909950805", "38"),
        ("002", "Pot", "2073", 1015.0, False, "885909950805", "40"),
        ("003", "Cup", None, None, True, None, None),
        ("004", "Jug", None, 3.0, True, None, None),
    ]
    assert dataset.items["description"][0] == "Green & good"
    assert dataset.report.tables["items"].unreadable["price"].examples == ["free"]
    assert "link" not in dataset.items.columns
    assert dataset.report.licence == "the shop's own"


def test_a_feed_in_rss(tmp_path: Path):
    """With and without Google's namespace; of an attribute that repeats, the first value stays."""
    (tmp_path / "feed.xml").write_text(RSS)
    items = prepare("google-merchant", tmp_path).items
    assert items.select("item_id", "title", "category", "price", "available").rows() == [
        ("001", "Tea", "Home > Tea", 15.0, True),
        ("002", "Pot & Co", None, None, False),
    ]
    assert items["description"].to_list() == ["Very good tea", None]


def test_a_feed_in_atom_packed_and_in_another_encoding(tmp_path: Path):
    """The encoding is the one that the XML declares."""
    (tmp_path / "feed.xml.gz").write_bytes(gzip.compress(ATOM.encode("latin-1")))
    assert prepare("google-merchant", tmp_path).items.select("item_id", "title", "gtin").rows() == [
        ("001", "Müsli", "0123")
    ]


def test_events_in_the_same_folder(tmp_path: Path):
    """They are found by their columns; without one for what happened they are purchases."""
    (tmp_path / "feed.xml").write_text(RSS)
    (tmp_path / "orders.csv").write_text("Customer;Product ID;Order date\nc1;001;13.02.2024\nc2;003;13.02.2024\n")
    dataset = prepare("google-merchant", tmp_path)
    assert dataset.events.select("user_id", "item_id", "event").rows() == [("c1", "001", "purchase")]
    assert dataset.report.tables["events"].dropped["unknown_item"].rows == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (RSS.replace("</item>", "</itm>", 1), r"feed\.xml, line 6, column \d+: no XML \(mismatched tag"),
        (RSS.replace("<rss", '<!DOCTYPE rss [<!ENTITY a "b">]><rss'), r"feed\.xml declares entities of its own"),
        (RSS.replace("item>", "product>"), r"feed\.xml has no product; a feed has <item>"),
        (RSS.replace("g:id>", "g:sku>"), r"feed\.xml: no product has the attribute id"),
        (RSS.replace('"1.0"?>', '"1.0" encoding="gb18030"?>'), r"feed\.xml is in an encoding that XML parsers lack"),
    ],
)
def test_a_feed_that_cannot_be_read_is_refused(tmp_path: Path, content: str, message: str):
    """The message names the file and, if there is one, the place."""
    (tmp_path / "feed.xml").write_text(content)
    with pytest.raises(BadDataset, match=message):
        prepare("google-merchant", tmp_path)


def test_a_folder_without_a_feed_is_refused(tmp_path: Path):
    """Other XML is no feed; a path where nothing is has its own message."""
    (tmp_path / "site.xml").write_text("<urlset><item/></urlset>")
    with pytest.raises(BadDataset, match=r"holds no table of products with .*: found no table; name a feed"):
        prepare("google-merchant", tmp_path)
    with pytest.raises(BadDataset, match="does not exist; name a feed"):
        prepare("google-merchant", tmp_path / "none")


def test_a_feed_of_few_attributes(tmp_path: Path):
    """An id and a title are enough if the adapter is named."""
    (tmp_path / "feed.tsv").write_text("g:id\tg:title\n01\tTea\n")
    assert prepare("google-merchant", tmp_path).items.select("item_id", "title").rows() == [("01", "Tea")]
