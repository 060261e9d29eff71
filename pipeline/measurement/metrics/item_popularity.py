"""The items of a release as the measures need them: popularity, band and text vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.long_tail import long_tail_threshold
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.features.item_tables import ItemTables

_HEAD_SHARE: Final = 0.1
BANDS: Final = ("head", "middle", "tail")


@dataclass(frozen=True, eq=False)
class ItemPopularity:
    """The items of a release.

    Attributes:
        catalogue: The items.
        popularity: Number of buyers of each item when the release was built; float [items].
        band: 0 for the head, 1 for the middle, 2 for the tail; int [items]; see `band_of`.
        vectors: Unit vectors of texts; float32 [texts, width].
        vector_of: Each item's vector; int [items].
    """

    catalogue: Catalogue
    popularity: npt.NDArray[np.float64]
    band: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.floating[Any]]
    vector_of: npt.NDArray[np.integer[Any]]

    @classmethod
    def load(cls, release: Release) -> ItemPopularity:
        """Read the items of a release."""
        catalogue = Catalogue.open(release.file(CATALOGUE))
        tables = ItemTables(release, catalogue)
        popularity = np.asarray(tables.popularity(), np.float64)
        return cls(
            catalogue, popularity, band_of(popularity), tables.embeddings().vectors, tables.embeddings().text_of_item
        )

    def __len__(self) -> int:
        return len(self.catalogue)

    def rows(self, item_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the rows of the items that are in the catalogue."""
        rows = self.catalogue.rows_of(item_ids)
        return rows[rows >= 0]

    def self_information(self) -> npt.NDArray[np.float64]:
        """Return the self-information of each item in bits: -log2 of its share of all purchases, plus one each."""
        counts = self.popularity + 1
        return np.asarray(-np.log2(counts / counts.sum()))

    def column(self, name: str) -> list[str | None]:
        """Return a text column by row; all None if the catalogue does not have it."""
        if name not in self.catalogue.table.column_names:
            return [None] * len(self)
        values: list[str | None] = self.catalogue.table[name].to_pylist()
        return values


def band_of(popularity: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the band of each item, 0 for head, 1 for middle, 2 for tail; int [items].

    The tail sold less than the median of the items that sold. The head is the tenth of those that sold most, with ties.
    The middle is the rest. If nothing sold, all are head.
    """
    sold = popularity[popularity > 0]
    if not len(sold):
        return np.zeros(len(popularity), np.int64)
    band = np.ones(len(popularity), np.int64)
    band[popularity >= np.quantile(sold, 1 - _HEAD_SHARE, method="higher")] = 0
    band[popularity < long_tail_threshold(popularity)] = 2
    return band
