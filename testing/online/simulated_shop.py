"""A shop whose users are known: what attracts each of them, and how likely they look at each position.

Users choose an item if they look at its position and it attracts them, independently of the other items (the
position-based model). So the reward that an answer gets on average is known exactly, without users.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testing.tiny_shop import KINDS, SHELVES

Floats = npt.NDArray[np.float64]

POSITIONS: Final = 5
_BRANDS: Final = ("acme", "orchard")
# A user likes two words of one shelf, and one kind; what is left is the item's own attraction.
_LIKED_WORD: Final = 0.45
_LIKED_KIND: Final = 0.2
_MAX_OWN: Final = 0.2


class SimulatedShop:
    """160 items, and users with tastes.

    Args:
        users: Number of users.
        seed: Seed of the tastes.

    Attributes:
        items: The items' table, as a dataset has it.
        item_ids: Their ids.
        attraction: The probability that a user who looks at an item chooses it; float64 [users, items].
        examination: The probability that a user looks at a position; float64 [positions].
    """

    def __init__(self, users: int, seed: int = 11) -> None:
        generator = np.random.default_rng(seed)
        names = [
            (shelf, word, kind, brand)
            for shelf, words in SHELVES.items()
            for word in words
            for kind in KINDS
            for brand in _BRANDS
        ]
        self.item_ids = [f"{word}-{kind}-{brand}" for _, word, kind, brand in names]
        self.items = pl.DataFrame(
            {
                "item_id": self.item_ids,
                "title": [f"{kind} {word}" for _, word, kind, _ in names],
                "category": [shelf for shelf, _, _, _ in names],
                "brand": [brand for _, _, _, brand in names],
            }
        )
        self.examination: Floats = np.asarray(np.arange(1, POSITIONS + 1) ** -0.8, np.float64)
        own = generator.random(len(names)) * _MAX_OWN
        shelves = list(SHELVES)
        self.attraction: Floats = np.tile(own, (users, 1))
        for user in range(users):
            shelf = shelves[int(generator.integers(len(shelves)))]
            words = set(generator.choice(SHELVES[shelf], 2, replace=False).tolist())
            kind = str(generator.choice(KINDS))
            likes = [
                _LIKED_WORD * (word in words) + _LIKED_KIND * (word in words and of == kind) for _, word, of, _ in names
            ]
            self.attraction[user] += likes
        self._place = {item_id: place for place, item_id in enumerate(self.item_ids)}

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.attraction)

    def reward(self, user: int, items: Sequence[str]) -> float:
        """Return how many items of an answer a user chooses on average."""
        places = [self._place[item_id] for item_id in items[:POSITIONS]]
        return float((self.examination[: len(places)] * self.attraction[user, places]).sum())

    def best_reward(self) -> float:
        """Return the mean reward over users if each saw what attracts that user most."""
        best = -np.sort(-self.attraction, axis=1)[:, :POSITIONS]
        return float((best * self.examination).sum(axis=1).mean())

    def choose(self, user: int, items: Sequence[str], generator: np.random.Generator) -> list[str]:
        """Return the items of an answer that a user chooses this time."""
        places = [self._place[item_id] for item_id in items[:POSITIONS]]
        chances = self.examination[: len(places)] * self.attraction[user, places]
        return [item for item, chosen in zip(items, generator.random(len(places)) < chances, strict=False) if chosen]
