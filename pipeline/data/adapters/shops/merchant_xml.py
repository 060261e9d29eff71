"""Google Merchant feeds in XML (RSS 2.0 or Atom), read one product at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final
from xml.etree.ElementTree import Element, ParseError  # types; defusedxml parses  # nosec B405

import polars as pl
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from pipeline.data.dataset.schema import BadDataset
from pipeline.data.files.text_files import open_unpacked, plain_suffix

_NAMESPACE: Final = b"http://base.google.com/ns/1.0"
_PRODUCT_TAGS: Final = ("item", "entry")  # RSS, Atom
_HEAD_BYTES: Final = 1 << 14


def is_feed(file: Path) -> bool:
    """Return whether a file is XML, packed or not, that uses Google's namespace of products."""
    if plain_suffix(file) != ".xml" or not file.is_file():
        return False
    with open_unpacked(file) as stream:
        head: bytes = stream.read(_HEAD_BYTES)
    return _NAMESPACE in head.replace(b"\x00", b"")  # UTF-16 has a zero byte for each letter


def read_feed(file: Path) -> pl.DataFrame:
    """Return one row for each product, and one column for each attribute that any of them has, as text.

    Of an attribute that a product has several times, the first value stays.

    Raises:
        BadDataset: The file is no XML, declares entities of its own, or has no products.
    """
    with open_unpacked(file) as stream:
        try:
            rows = list(_products(stream))
        except ParseError as error:
            line, column = error.position
            raise BadDataset(
                f"{file}, line {line}, column {column + 1}: no XML ({error}); export the feed again"
            ) from error
        except DefusedXmlException as error:
            raise BadDataset(f"{file} declares entities of its own ({error}); remove them") from error
        except (LookupError, ValueError) as error:
            raise BadDataset(f"{file} is in an encoding that XML parsers lack ({error}); save it as UTF-8") from error
    if not rows:
        raise BadDataset(f"{file} has no product; a feed has <item> (RSS 2.0) or <entry> (Atom) for each")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in names}, dict.fromkeys(names, pl.String))


def _products(stream: IO[bytes] | Any) -> Iterator[dict[str, str]]:
    parents: list[Element] = []
    for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=False):
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _local(element.tag) in _PRODUCT_TAGS:
            yield _attributes(element)
            parents[-1].clear()  # what was read is forgotten, or a large feed would fill the memory


def _attributes(product: Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in product:
        text = "".join(child.itertext()).strip() or child.get("href", "").strip()  # descriptions may hold tags
        if text:
            found.setdefault(_local(child.tag), text)
    return found


def _local(tag: str) -> str:
    return tag.rpartition("}")[2].lower()
