"""Workbooks as Excel writes them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

Cell = str | float | datetime | None


Sheets = Mapping[str, Sequence[Sequence[Cell]]]


_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


_PACKAGE = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'


_TYPES = 'xmlns="http://schemas.openxmlformats.org/package/2006/content-types"'


_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"


# Style 1 is number format 22, "m/d/yy h:mm": what tells a date from a number.
_STYLES = f'<styleSheet {_MAIN}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs></styleSheet>'


_DAY_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel has no zone


@pytest.fixture
def write_workbook() -> Callable[[Path, Sheets], Path]:
    """Return a writer of .xlsx files: shared strings, numbers, dates as numbers with a style, empty cells left out.

    The parts are those of ECMA-376, Office Open XML.
    """
    return _write


def _write(file: Path, sheets: Sheets) -> Path:
    strings: dict[str, int] = {}
    parts = {f"xl/worksheets/sheet{at}.xml": _sheet(rows, strings) for at, rows in enumerate(sheets.values(), 1)}
    names = "".join(f'<sheet name="{escape(name)}" sheetId="{at}" r:id="r{at}"/>' for at, name in enumerate(sheets, 1))
    related = {f"r{at}": ("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(sheets) + 1)}
    related |= {"strings": ("sharedStrings", "sharedStrings.xml"), "styles": ("styles", "styles.xml")}
    texts = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
    parts |= {
        "[Content_Types].xml": f'<Types {_TYPES}><Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}"/></Types>',
        "_rels/.rels": _relationships({"book": ("officeDocument", "xl/workbook.xml")}),
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relationships(related),
        "xl/sharedStrings.xml": f"<sst {_MAIN}>{texts}</sst>",
        "xl/styles.xml": _STYLES,
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file


def _sheet(rows: Sequence[Sequence[Cell]], strings: dict[str, int]) -> str:
    lines = []
    for at, row in enumerate(rows, 1):
        cells = (_cell(f"{chr(65 + column)}{at}", value, strings) for column, value in enumerate(row))
        lines.append(f'<row r="{at}">{"".join(cells)}</row>')
    return f"<worksheet {_MAIN}><sheetData>{''.join(lines)}</sheetData></worksheet>"


def _cell(place: str, value: Cell, strings: dict[str, int]) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place}" t="s"><v>{strings.setdefault(value, len(strings))}</v></c>'
    if isinstance(value, datetime):
        return f'<c r="{place}" s="1"><v>{(value - _DAY_ZERO) / timedelta(days=1)!r}</v></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'


def _relationships(to: Mapping[str, tuple[str, str]]) -> str:
    each = "".join(
        f'<Relationship Id="{name}" Type="{_OFFICE}/{kind}" Target="{target}"/>' for name, (kind, target) in to.items()
    )
    return f"<Relationships {_PACKAGE}>{each}</Relationships>"
