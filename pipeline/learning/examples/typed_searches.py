"""Searches made of titles, changed to what people type.

The words of a title are in the title that they should find, so searches made of them favour the source that compares
words. People leave words out, name the kind of product, use another word, and misspell. What is learned for searches
sees some of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from common.text import folded
from pipeline.data.dataset.training_requests import ShopRequest, searchable_words

# Attributes that name what kind of product an item is.
_KINDS: Final = ("product_type", "category")
_MAX_KIND_WORDS: Final = 3
_MIN_MISSPELT: Final = 5  # letters; a shorter word with another letter is another word
# Words of shops for the same thing, mostly of America and of Britain.
_SYNONYMS: Final = (
    "soda pop fizzy",
    "diapers nappies",
    "cookies biscuits",
    "chips crisps",
    "candy sweets",
    "trash garbage rubbish",
    "eggplant aubergine",
    "zucchini courgette",
    "cilantro coriander",
    "shrimp prawns",
    "ground minced",
    "sofa couch",
    "tv television",
    "mobile cellphone",
    "sneakers trainers",
    "pants trousers",
    "sweater jumper pullover",
    "flashlight torch",
    "faucet tap",
    "laptop notebook",
    "fridge refrigerator",
    "stroller pram",
    "rug carpet",
    "kids children",
    "baby infant",
    "bike bicycle",
    "photo picture",
    "gift present",
    "purse handbag",
    "earphones headphones",
    "cordless wireless",
    "drapes curtains",
    "closet wardrobe",
    "stove cooker hob",
    "autumn fall",
    "holiday christmas",
)
_OTHER_WORDS: Final[Mapping[str, Sequence[str]]] = {
    word: [other for other in group.split() if other != word] for group in _SYNONYMS for word in group.split()
}


@dataclass(frozen=True)
class ItemWords:
    """What searches for items can be made of.

    Attributes:
        titles: The items' titles by id.
        kinds: What kinds of product an item is, such as its type and its category; items without one are left out.
    """

    titles: Mapping[str, str]
    kinds: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, items: pl.DataFrame) -> ItemWords:
        """Return the words of a dataset's items."""
        titles = dict(items.select("item_id", "title").iter_rows())
        kinds: dict[str, list[str]] = {}
        for column in _KINDS:
            if column in items.columns and items.schema[column] == pl.String:
                for item_id, kind in items.select("item_id", column).drop_nulls().iter_rows():
                    kinds.setdefault(item_id, []).append(folded(kind.rsplit(" > ", 1)[-1]))
        return cls(titles, kinds)


# Makes another search of a request that knows everything its user bought, and of its search; None if it cannot.
_Change = Callable[[ShopRequest, ShopRequest, ItemWords, np.random.Generator], ShopRequest | None]


def as_typed(
    requests: Sequence[ShopRequest],
    searches: Sequence[ShopRequest],
    words: ItemWords,
    *,
    share: float,
    seed: int,
) -> list[ShopRequest]:
    """Change a share of the searches to what people type; what is bought changes with what is asked for.

    Args:
        requests: The requests that the searches were made of, with everything that was bought.
        searches: The same requests, some of them as searches made of titles (`simulate_cold_start`).
        words: The items' words.
        share: Share of the searches to change.
        seed: Of the draws.
    """
    generator = np.random.default_rng(seed)
    typed = []
    for request, search in zip(requests, searches, strict=True):
        changed = None
        if search.query and generator.random() < share:
            for place in generator.permutation(len(_CHANGES)):
                changed = _CHANGES[place](request, search, words, generator)
                if changed is not None:
                    break
        typed.append(changed or search)
    return typed


def _with_fewer_words(
    request: ShopRequest, search: ShopRequest, words: ItemWords, generator: np.random.Generator
) -> ShopRequest | None:
    asked = search.query.split()
    if len(asked) < 2:  # noqa: PLR2004 - one is left
        return None
    left_out = int(generator.integers(len(asked)))
    query = [word for place, word in enumerate(asked) if place != left_out]
    titled = {item: searchable_words(words.titles[item]) for item in request.bought if item in words.titles}
    fitting = frozenset(item for item, known in titled.items() if set(query) <= set(known))
    return replace(search, query=" ".join(query), bought=fitting)


def _by_kind(
    request: ShopRequest, search: ShopRequest, words: ItemWords, generator: np.random.Generator
) -> ShopRequest | None:
    known = sorted({kind for item in search.bought for kind in words.kinds.get(item, ())})
    named = [kind for kind in known if searchable_words(kind)]
    if not named:
        return None
    kind = named[int(generator.integers(len(named)))]
    fitting = frozenset(item for item in request.bought if kind in words.kinds.get(item, ()))
    return replace(search, query=" ".join(searchable_words(kind)[:_MAX_KIND_WORDS]), bought=fitting)


def _in_other_words(
    _: ShopRequest, search: ShopRequest, __: ItemWords, generator: np.random.Generator
) -> ShopRequest | None:
    asked = search.query.split()
    places = [place for place, word in enumerate(asked) if word in _OTHER_WORDS]
    if not places:
        return None
    place = places[int(generator.integers(len(places)))]
    others = _OTHER_WORDS[asked[place]]
    asked[place] = others[int(generator.integers(len(others)))]
    return replace(search, query=" ".join(asked))


def _misspelt(_: ShopRequest, search: ShopRequest, __: ItemWords, generator: np.random.Generator) -> ShopRequest | None:
    asked = search.query.split()
    places = [place for place, word in enumerate(asked) if len(word) >= _MIN_MISSPELT]
    if not places:
        return None
    place = places[int(generator.integers(len(places)))]
    word = asked[place]
    at = int(generator.integers(1, len(word) - 1))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    forms = [word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], *([swapped] if swapped != word else [])]
    asked[place] = forms[int(generator.integers(len(forms)))]
    return replace(search, query=" ".join(asked))


_CHANGES: Final[Sequence[_Change]] = (_with_fewer_words, _by_kind, _in_other_words, _misspelt)
