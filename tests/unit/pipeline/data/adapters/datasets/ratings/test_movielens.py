"""MovieLens in each published form becomes ratings of films."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.data.adapters import prepare
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.schema import BadDataset

MOVIES = [
    ("1", "Toy Story (1995)", "Adventure|Animation|Children"),
    ("2", "Matrix, The (1999)", "Action|Sci-Fi"),
    ("3", "Babylon 5", "(no genres listed)"),
    ("4", "Misérables, Les (1995)", "Drama|Musical"),
]


RATINGS = [
    ("1", "1", "4.0", "964982703"),
    ("1", "2", "0.5", "964981247"),
    ("2", "2", "5", "964981248"),
]


def write_csv(folder: Path, ratings: list[tuple[str, ...]]) -> Path:
    """Write the newer form."""
    lines = [f'{movie},"{title}",{genres}' for movie, title, genres in MOVIES]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines, ""]))
    rows = [",".join(row) for row in ratings]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows, ""]))
    return folder


def write_dat(folder: Path, ratings: list[tuple[str, ...]], encoding: str = "latin-1") -> Path:
    """Write the older form."""
    movies = "".join("::".join(row) + "\r\n" for row in MOVIES)
    (folder / "movies.dat").write_bytes(movies.encode(encoding))
    (folder / "ratings.dat").write_text("".join("::".join(row) + "\n" for row in ratings))
    return folder


def write_u(folder: Path, ratings: list[tuple[str, ...]]) -> Path:
    """Write the oldest form, which has a flag for each genre."""
    genres = ["unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"]
    genres += [
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ]
    lines = []
    for movie, title, listed in MOVIES:
        has = listed.replace("Children", "Children's").split("|") if "|" in listed else ["unknown"]
        flags = ["1" if genre in has else "0" for genre in genres]
        lines.append("|".join([movie, title, "01-Jan-1995", "", "http://us.imdb.com/M", *flags]) + "\n")
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))
    (folder / "u.data").write_text("".join("\t".join(row) + "\n" for row in ratings))
    return folder


def dropped(dataset: Dataset) -> dict[str, int]:
    """Return the counts of the reasons that dropped any event."""
    return {reason: part.rows for reason, part in dataset.report.tables["events"].dropped.items() if part.rows}


def test_films_and_ratings(tmp_path: Path):
    """Articles stand in front, genres are the category, stars the value."""
    dataset = prepare("movielens", write_csv(tmp_path, RATINGS))
    assert dataset.items.select("item_id", "title", "category", "year").rows() == [
        ("1", "Toy Story (1995)", "Adventure, Animation, Children", 1995),
        ("2", "The Matrix (1999)", "Action, Sci-Fi", 1999),
        ("3", "Babylon 5", None, None),
        ("4", "Misérables, Les (1995)", "Drama, Musical", 1995),
    ]
    assert dataset.events.select("user_id", "item_id", "value").rows() == [
        ("1", "2", 0.5),
        ("1", "1", 4.0),
        ("2", "2", 5.0),
    ]
    assert dataset.events["timestamp"].to_list()[1] == datetime(2000, 7, 30, 18, 45, 3)  # noqa: DTZ001 - no zone


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_the_older_form_gives_the_same_dataset(tmp_path: Path, encoding: str):
    """Cells parted by :: in either encoding are read like the newer files."""
    newer = prepare("movielens", write_csv(tmp_path, RATINGS))
    (tmp_path / "old").mkdir()
    assert prepare("movielens", write_dat(tmp_path / "old", RATINGS, encoding)).fingerprint() == newer.fingerprint()


def test_the_oldest_form_gives_the_same_dataset(tmp_path: Path):
    """Flags become genres, that of no known genre none; ratings parted by tabs are read like the newer files."""
    newer = prepare("movielens", write_csv(tmp_path, RATINGS))
    (tmp_path / "old").mkdir()
    found = prepare("movielens", write_u(tmp_path / "old", RATINGS))
    assert found.events.equals(newer.events)
    named = newer.items.with_columns(pl.col("category").str.replace("Children", "Children's"))
    assert found.items.equals(named)


@pytest.mark.parametrize("write", [write_csv, write_dat, write_u])
def test_unusable_ratings_are_counted(tmp_path: Path, write: object):
    """Each reason is counted, in each form."""
    broken = [("3", "1", "many", "964982703"), ("3", "1", "7", "964982703"), ("3", "9", "3", "964982703"), RATINGS[0]]
    assert callable(write)
    dataset = prepare("movielens", write(tmp_path, [*RATINGS, *broken]))
    assert dropped(dataset) == {"unreadable": 1, "impossible_rating": 1, "unknown_item": 1, "repeated": 1}


def test_a_line_of_another_width_is_unreadable(tmp_path: Path):
    """Cells that would slip into other columns are not used."""
    dataset = prepare("movielens", write_dat(tmp_path, [*RATINGS, ("1", "1", "4", "964982703", "5"), ("1", "1")]))
    assert dropped(dataset) == {"unreadable": 2}


def test_a_folder_without_the_files_is_refused(tmp_path: Path):
    """The message names each form."""
    (tmp_path / "ratings.csv").touch()
    named = r"neither ratings\.csv and movies\.csv nor ratings\.dat and movies\.dat nor u\.data and u\.item"
    with pytest.raises(BadDataset, match=named):
        prepare("movielens", tmp_path)
