"""MovieLens (GroupLens): ratings of films; as ``.csv``, as ``.dat`` parted by ``::``, and the oldest ``u.data``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.data.adapters.adapter import Adapter, Progress
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport
from pipeline.data.dataset.schema import TIMESTAMP, BadDataset
from pipeline.data.files.tables import read_table
from pipeline.data.ingest.row_filter import RowFilter, refuse_empty

_RATINGS: Final = ("userId", "movieId", "rating", "timestamp")


_MOVIES: Final = ("movieId", "title", "genres")


# The files of each form, ratings and films.
_FORMS: Final = (("ratings.csv", "movies.csv"), ("ratings.dat", "movies.dat"), ("u.data", "u.item"))


_SEPARATORS: Final = {".dat": "::", ".data": "\t", ".item": "|"}


# The flags at the end of a line of u.item, in the order of u.genre.
_FLAGS: Final = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


_UNKNOWN: Final = _FLAGS[0]


_U_ITEM: Final = ("movieId", "title", "released", "video", "url", *_FLAGS)


_NO_GENRES: Final = "(no genres listed)"


_YEAR: Final = r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$"


# "Matrix, The (1999)": English articles alone, since "Die" and "Los" also end titles that have no article.
_ARTICLE: Final = r"^(.*), (The|A|An)$"


def prepare(data: Path, progress: Progress) -> Dataset:
    """Make a dataset from a folder with both ``.csv``, both ``.dat``, or ``u.data`` and ``u.item``.

    Every rating is an event, whatever its stars, with the stars as ``value``. A film's genres together are its
    category.

    Raises:
        BadDataset: A file or a column is missing, or no usable row is left.
    """
    ratings_file, movies_file = _files(data)
    progress("reading films")
    movies = RowFilter(_read_movies(movies_file))
    _clean_movies(movies)
    refuse_empty(movies, str(movies_file))
    progress("reading ratings")
    ratings = RowFilter(_typed(_read(ratings_file, _RATINGS)))
    _clean_ratings(ratings, movies.frame)
    refuse_empty(ratings, str(ratings_file))
    items, events = _items(movies.frame), _events(ratings.frame)
    report = DataReport(
        source=ADAPTER.name,
        licence=ADAPTER.licence,
        tables={"items": movies.report(missing_in=items), "events": ratings.report(missing_in=events)},
        notes=[f"{items.height - events['item_id'].n_unique():,} films were never rated."],
    )
    return Dataset(items, events, None, report)


def _files(data: Path) -> tuple[Path, Path]:
    for names in _FORMS:
        ratings, movies = (data / name for name in names)
        if ratings.is_file() and movies.is_file():
            return ratings, movies
    forms = " nor ".join(" and ".join(names) for names in _FORMS)
    raise BadDataset(f"{data} holds neither {forms}; name their folder")


def _read_movies(file: Path) -> pl.DataFrame:
    if file.suffix != ".item":
        return _read(file, _MOVIES)
    flags = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in _FLAGS if name != _UNKNOWN]
    genres = pl.concat_str(flags, separator="|", ignore_nulls=True).alias("genres")
    return _read(file, _U_ITEM).select("movieId", "title", genres)


def _read(file: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read a table as text."""
    if file.suffix == ".csv":
        return read_table(file, {column: column for column in columns}, infer=False)
    return _read_lines(file, columns, _SEPARATORS[file.suffix])


def _read_lines(file: Path, columns: Sequence[str], separator: str) -> pl.DataFrame:
    """Read a file without header or quotes; a line of another width has empty cells."""
    content = file.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:  # the releases of up to a million ratings are in Latin-1, that of ten million in UTF-8
        text = content.decode("latin-1")
    lines = pl.Series("line", [line for line in text.split("\n") if line.strip()], pl.String)
    cells = lines.str.strip_chars_end("\r").str.split(separator)
    whole = cells.list.len() == len(columns)
    return pl.DataFrame(
        {name: cells.list.get(place, null_on_oob=True).set(~whole, None) for place, name in enumerate(columns)}
    )


def _typed(ratings: pl.DataFrame) -> pl.DataFrame:
    return ratings.with_columns(
        pl.col("rating").cast(pl.Float64, strict=False), pl.col("timestamp").cast(pl.Int64, strict=False)
    )


def _clean_movies(movies: RowFilter) -> None:
    blank = pl.col("title").str.strip_chars() == ""
    unreadable = pl.col("movieId").is_null() | pl.col("title").is_null() | blank
    movies.drop("unreadable", "The line has no id or no title.", unreadable)
    again = ~pl.col("movieId").is_first_distinct()
    movies.drop("repeated_id", "A film with this id came before; the first one stays.", again)


def _clean_ratings(ratings: RowFilter, movies: pl.DataFrame) -> None:
    unreadable = pl.any_horizontal(pl.col(_RATINGS).is_null())
    ratings.drop("unreadable", "User, film, rating or time is missing or unreadable.", unreadable)
    ratings.drop("impossible_rating", "Ratings are 0.5 to 5 stars.", ~pl.col("rating").is_between(0.5, 5.0))
    known = pl.col("movieId").is_in(movies["movieId"].implode())
    ratings.drop("unknown_item", "No film has this id.", ~known)
    again = ~pl.struct("userId", "movieId", "timestamp").is_first_distinct()
    ratings.drop("repeated", "The same user rated the same film at the same time before.", again)


def _items(movies: pl.DataFrame) -> pl.DataFrame:
    name = pl.col("title").str.strip_chars()
    bare = name.str.replace(_YEAR, "").str.replace(_ARTICLE, "$2 $1")
    year = name.str.extract(_YEAR)
    genres = pl.col("genres").str.strip_chars().replace({_NO_GENRES: None, "": None})
    return movies.select(
        pl.col("movieId").alias("item_id"),
        pl.when(year.is_null())
        .then(bare)
        .otherwise(pl.concat_str(bare, pl.lit(" ("), year, pl.lit(")")))
        .alias("title"),
        genres.str.replace_all("|", ", ", literal=True).alias("category"),
        year.cast(pl.Int64).alias("year"),
    )


def _events(ratings: pl.DataFrame) -> pl.DataFrame:
    return ratings.select(
        pl.col("userId").alias("user_id"),
        pl.col("movieId").alias("item_id"),
        pl.lit("rating").alias("event"),
        (pl.col("timestamp") * 1_000_000).cast(TIMESTAMP).alias("timestamp"),
        pl.col("rating").alias("value"),
    )


ADAPTER: Final = Adapter(
    name="movielens",
    description="MovieLens: a folder with ratings and movies, as .csv, as .dat, or as the oldest u.data and u.item",
    licence="MovieLens, GroupLens Research (research use, no redistribution without permission)",
    prepare=prepare,
)
