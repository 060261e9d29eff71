"""Which of a shop's columns is which of ours, by their names and their cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.data.dataset.schema import JUDGEMENTS
from pipeline.data.ingest.times import read_times
from pipeline.data.ingest.values import as_text, read_numbers

# Names that shops, platforms and public data sets give each of our columns, the likeliest first; compared in lower
# case without other marks than letters and digits.
_ITEM_ID: Final = (
    "itemid item productid product sku productsku itemsku variantid variantsku lineitemsku asin parentasin stockcode "
    "articleid articlenumber article gtin ean upc code productcode itemcode productnumber pid handle id"
)
_NAMES: Final[dict[str, dict[str, str]]] = {
    "items": {
        "item_id": _ITEM_ID,
        "title": "title name productname producttitle itemname itemtitle prodname displayname label description",
        "brand": "brand brandname vendor manufacturer maker marke productbrand",
        "category": (
            "category categories producttype categorypath categoryname productcategory googleproductcategory "
            "producttypename department maincategory catalog kategorie collection type"
        ),
        "description": (
            "description desc longdescription shortdescription body bodyhtml productdescription detaildesc details text"
        ),
        "price": (
            "price saleprice regularprice unitprice variantprice listprice priceamount pricevalue cost amount preis "
            "currentprice"
        ),
        "available": "available availability instock stockstatus isavailable status active published",
        "language": "language lang locale",
    },
    "events": {
        "user_id": (
            "userid user customerid customer customernumber visitorid clientid memberid buyerid shopperid "
            "householdid householdkey reviewerid uid email sessionid session userpseudoid"
        ),
        "item_id": _ITEM_ID,
        "event": "event eventtype eventname behavior behaviortype behaviour action actiontype activity type",
        "timestamp": (
            "timestamp time datetime eventtime eventtimestamp date ts createdat createddate orderdate orderedat "
            "purchasedat purchasedate invoicedate transactiondate tdat paidat day unixreviewtime at when"
        ),
        "quantity": "quantity qty units count lineitemquantity amountofitems numberofitems",
        "value": "value rating stars overall score price total amount revenue salesvalue",
        "event_id": "eventid lineid",
        "session_id": "sessionid session basketid orderid invoiceno transactionid",
    },
    "judgements": {
        "query": "query searchterm searchquery keyword keywords term q",
        "item_id": _ITEM_ID,
        "relevance": "relevance label grade score judgement judgment gain rating",
        "split": "split part",
    },
}
_NEEDED: Final = {
    "items": ("item_id", "title"),
    "events": ("user_id", "item_id", "timestamp"),
    "judgements": tuple(JUDGEMENTS.needed),
}
_SAMPLE: Final = 1_000
_MIN_SHARE: Final = 0.8


def propose_roles(frame: pl.DataFrame, table: str) -> dict[str, str]:
    """Return our column's name to theirs for a table of the shop, as far as names and cells tell.

    A column is taken once; of several that fit, the likelier name wins. A column whose cells cannot mean what its name
    says is not taken: a price must be numbers, a timestamp times.

    Args:
        frame: The table as it was read.
        table: `items`, `events` or `judgements`.
    """
    theirs = {plain_name(name): name for name in reversed(frame.columns)}
    found: dict[str, str] = {}
    for role, names in _NAMES[table].items():
        for name in (role.replace("_", ""), *names.split()):
            column = theirs.get(name)
            if column is None or column in found.values() or not _fits(frame[column].head(_SAMPLE), role):
                continue
            found[role] = column
            break
    return found


def lacking(roles: Mapping[str, str], table: str) -> list[str]:
    """Return the needed columns of a table that no column plays."""
    return [name for name in _NEEDED[table] if name not in roles]


def guess_table(frame: pl.DataFrame) -> str | None:
    """Return which table of a dataset a table of the shop can be: the one all of whose needed columns it has."""
    for table in ("judgements", "events", "items"):
        roles = propose_roles(frame, table)
        if not lacking(roles, table) and not (table == "events" and "title" in roles):
            return table
    return None


def plain_name(name: str) -> str:
    """Return a column's name in lower case with letters and digits alone: `Item ID` and `itemId` are itemid."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _fits(column: pl.Series, role: str) -> bool:
    filled = as_text(column).drop_nulls()
    if filled.is_empty():
        return role not in ("item_id", "title", "user_id")
    if role == "timestamp":
        read = read_times(column)
        return int((read.unreadable | read.outside).sum()) <= (1 - _MIN_SHARE) * len(filled)
    if role in ("price", "quantity", "value", "relevance"):
        return int(read_numbers(column).unreadable.sum()) <= (1 - _MIN_SHARE) * len(filled)
    return True
