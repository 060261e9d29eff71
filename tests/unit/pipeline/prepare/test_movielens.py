"""MovieLens in both published forms becomes ratings of films."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from pipeline.dataset import BadDataset, Dataset
from pipeline.prepare import prepare

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


@pytest.mark.parametrize("write", [write_csv, write_dat])
def test_unusable_ratings_are_counted(tmp_path: Path, write: object):
    """Each reason is counted, in both forms."""
    broken = [("3", "1", "many", "964982703"), ("3", "1", "7", "964982703"), ("3", "9", "3", "964982703"), RATINGS[0]]
    assert callable(write)
    dataset = prepare("movielens", write(tmp_path, [*RATINGS, *broken]))
    assert dropped(dataset) == {"unreadable": 1, "impossible_rating": 1, "unknown_item": 1, "repeated": 1}


def test_a_line_of_another_width_is_unreadable(tmp_path: Path):
    """Cells that would slip into other columns are not used."""
    dataset = prepare("movielens", write_dat(tmp_path, [*RATINGS, ("1", "1", "4", "964982703", "5"), ("1", "1")]))
    assert dropped(dataset) == {"unreadable": 2}


def test_a_folder_without_the_files_is_refused(tmp_path: Path):
    """The message names both forms."""
    (tmp_path / "ratings.csv").touch()
    with pytest.raises(BadDataset, match=r"neither ratings\.csv and movies\.csv nor ratings\.dat and movies\.dat"):
        prepare("movielens", tmp_path)
