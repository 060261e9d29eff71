"""A mapping of a shop's tables as TOML, with a comment for whatever could be set otherwise."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from pipeline.data.adapters.shops.own_tables import Description, TableMapping
from pipeline.data.dataset.event_kinds import DEFAULT_WEIGHTS
from pipeline.data.inspection.inspection import Inspection

_HEAD = """# What this shop's tables are called and what their columns mean (ours = theirs).
# Made by `python -m pipeline inspect`; read it, mend it, and build from it:
#   python -m pipeline build --source table --data {name} --out releases/shop
licence = "not stated"
"""


def write_mapping(inspection: Inspection, file: Path) -> None:
    """Write the mapping that an inspection proposes; files in it are named from where it lies.

    Raises:
        ValueError: The inspection found no items.
    """
    if inspection.description is None:
        raise ValueError("there is no mapping without items")
    parts = [_HEAD.format(name=file.name)]
    for name in ("items", "events", "judgements"):
        mapping: TableMapping | None = getattr(inspection.description, name)
        if mapping is not None:
            parts.append(_section(name, mapping, inspection, file))
    file.write_text("\n".join(parts), encoding="utf-8")
    Description.model_validate(_parsed(file))


def _section(name: str, mapping: TableMapping, inspection: Inspection, file: Path) -> str:
    place = (inspection.root / mapping.file).resolve()
    try:
        shown = place.relative_to(file.resolve().parent)
    except ValueError:
        shown = place
    found = next(table for table in inspection.tables if table.path.name == mapping.file.name)
    lines = [f"[{name}]", f"file = {_quoted(shown.as_posix())}"]
    if mapping.event:
        lines.append(f'event = "{mapping.event}"  # no column says what happened')
    note = found.notes[0]
    lines.append(f'# encoding = "{note.encoding or "utf-8"}"  # found; set it if texts look wrong')
    if note.delimiter:
        lines.append(f"# delimiter = {_quoted(note.delimiter)}  # found")
    if name == "events":
        lines.append(_weights(inspection))
        lines.append('# day_order = "auto"  # or "month first", "day first"')
    lines.append('# decimal_mark = "auto"  # or ".", ","')
    lines.append("# max_bad_share = 0.5  # of a column's cells; more unreadable ones refuse the file")
    lines.append("")
    lines.append(f"[{name}.columns]")
    lines += [f"{_key(ours)} = {_quoted(theirs)}" for ours, theirs in (mapping.columns or {}).items()]
    left = [column for column in found.raw.columns if column not in (mapping.columns or {}).values()]
    if left:
        lines.append(f"# not used: {', '.join(left)}")
    return "\n".join(lines) + "\n"


def _weights(inspection: Inspection) -> str:
    """Return the line on weights, with the kinds that the events have."""
    found = set() if inspection.dataset is None else set(inspection.dataset.events["event"].unique())
    weights = ", ".join(f"{kind} = {weight:g}" for kind, weight in DEFAULT_WEIGHTS.items() if kind in found)
    shown = weights or "view = 0.1, purchase = 1"
    return f"# weights = {{ {shown} }}  # of a kind of event; what is not set is learned, or as here"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parsed(file: Path) -> object:
    return tomllib.loads(file.read_text(encoding="utf-8"))
