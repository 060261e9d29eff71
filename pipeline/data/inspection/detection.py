"""Which source reads a file or folder, by what its files are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pipeline.data.adapters import ADAPTERS
from pipeline.data.adapters.adapter import Progress
from pipeline.data.adapters.shops.exports import heading
from pipeline.data.adapters.shops.own_tables import Description, dataset_of
from pipeline.data.adapters.shops.recognition import recognise
from pipeline.data.dataset.dataset import REPORT, Dataset
from pipeline.data.dataset.schema import EVENTS, ITEMS, BadDataset
from pipeline.data.files.heads import read_head, size_of
from pipeline.data.files.tables import find_tables, is_table, table_name
from pipeline.data.ingest.roles import lacking, plain_name
from pipeline.data.inspection.proposal import InspectedTable, inspected, propose_mapping

_TABLE: Final = "table"
# Public data sets by the names of their files, without suffixes.
_FILES: Final = {
    "amazon-office": {"items", "sequences"},
    "diginetica": {"train-item-views", "products"},
    "esci": {"shopping_queries_dataset_examples", "shopping_queries_dataset_products"},
    "hm": {"articles", "transactions_train"},
    "home-depot": {"items", "judgements_train", "judgements_test"},
    "instacart": {"orders", "products", "order_products__prior"},
    "movielens": {"ratings", "movies"},
    "retailrocket": {"events", "item_properties_part1"},
    "taobao": {"userbehavior"},
    "wands": {"query", "product", "label"},
    "yoochoose": {"yoochoose-clicks", "yoochoose-buys"},
}
# And by the headings of one file.
_HEADINGS: Final = (
    ("rees46", {"event_time", "event_type", "product_id", "user_session"}),
    ("online-retail", {"invoiceno", "stockcode", "invoicedate", "customerid"}),
    ("online-retail", {"invoice", "stockcode", "invoicedate", "customer id"}),
)


@dataclass(frozen=True)
class Detected:
    """The source that reads some data.

    Attributes:
        source: The adapter's name.
        sentence: What was found and what it is read as.
        prepare: Makes the dataset.
    """

    source: str
    sentence: str
    prepare: Callable[[Progress], Dataset]


def detect(data: Path) -> Detected:
    """Find the source that reads a file or folder.

    It is the platform or public data set whose files these are, else the shop's own tables: by our names, or by a
    mapping that names and cells of columns propose.

    Raises:
        BadDataset: Nothing is there, two sources fit, or no table looks like items.
    """
    if not data.exists():
        raise BadDataset(f"{data} does not exist; name the file or folder of the shop's data")
    if data.suffix.lower() == ".toml" or (data / REPORT).is_file():
        return _adapter(_TABLE, "a mapping" if data.is_file() else "a dataset", data)
    tables, failed = _tables(data)
    fitting = {one.adapter.name: one.what for one in recognise(data, [table.raw.columns for table in tables])}
    fitting |= {name: ADAPTERS[name].description.split(":")[0] for name in _public(data, tables)}
    if len(fitting) > 1:
        found = ", ".join(f"{name} ({what})" for name, what in fitting.items())
        raise BadDataset(f"{data} fits several sources: {found}; name one with --source, or keep their files apart")
    if fitting:
        return _adapter(*fitting.popitem(), data)
    if failed:
        raise failed[0]
    if _has_our_names(tables):
        return _adapter(_TABLE, "tables named items and events", data)
    return _own_tables(data, tables)


def _adapter(name: str, what: str, data: Path) -> Detected:
    sentence = f"Source {name}: {data.name} holds {what} (--source names another)"
    return Detected(name, sentence, partial(ADAPTERS[name].prepare, data))


def _tables(data: Path) -> tuple[list[InspectedTable], list[BadDataset]]:
    paths = find_tables(data) if data.is_dir() else {table_name(data): data} if is_table(data) else {}
    tables: list[InspectedTable] = []
    failed: list[BadDataset] = []
    for name, path in paths.items():
        try:
            tables.append(inspected(name, path, read_head(path), size_of(path)))
        except BadDataset as error:
            failed.append(error)
    return tables, failed


def _public(data: Path, tables: list[InspectedTable]) -> set[str]:
    """Return the public data sets whose files these are."""
    names = {table_name(file) for file in (data.iterdir() if data.is_dir() else [data])}
    stems = names | {Path(name).stem for name in names}  # .dat is no suffix of tables
    headings = [{heading(column) for column in table.raw.columns} for table in tables]
    found = {name for name, needed in _FILES.items() if stems >= needed}
    return found | {name for name, needed in _HEADINGS if any(columns >= needed for columns in headings)}


def _has_our_names(tables: list[InspectedTable]) -> bool:
    """Return whether tables named items and, if there are others, events have a dataset's columns."""
    columns = {table_name(table.path): {plain_name(name) for name in table.raw.columns} for table in tables}
    specs = {"items": ITEMS, "events": EVENTS}
    sound = {
        name: columns[name] >= {plain_name(column) for column in spec.needed}
        for name, spec in specs.items()
        if name in columns
    }
    return "items" in sound and all(sound.values()) and ("events" in sound or columns.keys() <= {"items", "judgements"})


def _own_tables(data: Path, tables: list[InspectedTable]) -> Detected:
    root = data if data.is_dir() else data.parent
    described = propose_mapping(root, tables)
    if described is None:
        seen = "; ".join(f"{table.path.name} has {', '.join(table.raw.columns)[:120]}" for table in tables)
        raise BadDataset(
            f"{data}: no table looks like items, with an id and a title ({seen or 'there is no table'}); write a "
            f"mapping: python -m pipeline inspect {root} --write shop.toml"
        )
    named = {"items": described.items, "events": described.events, "judgements": described.judgements}
    used = {name: mapping for name, mapping in named.items() if mapping is not None}
    others = [table for table in tables if table.path.relative_to(root) not in {of.file for of in used.values()}]
    if described.events is None and described.judgements is None and others:
        lacks = ", ".join(lacking(others[0].roles, "events")) or "users, items and times"
        raise BadDataset(
            f"{others[0].path}: no column looks like {lacks}; rename its columns, map them "
            f"(python -m pipeline inspect {root} --write shop.toml), or move the file away"
        )
    notes = [f"{table.path.name} in the folder was not read." for table in others]
    return Detected(_TABLE, _sentence(described), partial(_prepare, described, root, notes))


def _prepare(described: Description, root: Path, notes: list[str], progress: Progress) -> Dataset:
    return dataset_of(described, root, [*notes, _sentence(described)], progress)


def _sentence(described: Description) -> str:
    parts = []
    for name in ("items", "events", "judgements"):
        mapping = getattr(described, name)
        if mapping is not None:
            known = {**ITEMS.needed, **ITEMS.optional, **EVENTS.needed, **EVENTS.optional}
            columns = ", ".join(f"{ours} = {theirs}" for ours, theirs in mapping.columns.items() if ours in known)
            event = f", every row a {mapping.event}" if mapping.event else ""
            parts.append(f"{name} from {mapping.file} ({columns}{event})")
    return f"Source table: {'; '.join(parts)}"
