"""The model card of a release: data, licence, intended use, quality and known biases (Mitchell et al., FAT* 2019).

Its figures come from the validation users, so that the evaluation's users stay unseen. Two builds of the same data with
the same settings write the same card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.arrays import Float64Array
from common.release.catalogue import Catalogue
from common.release.layout import MODEL_CARD, POPULARITY, RANKER_SETTINGS
from common.release.manifest import ModelCard
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.measurement.metrics.beyond_accuracy import gini
from pipeline.measurement.metrics.item_popularity import BANDS, band_of
from pipeline.release.artifacts.staging import Staging
from pipeline.release.config.recipes import BASKETS, find_recipe

_K: Final = 10
_BRANDS: Final = 10
_NO_BRAND: Final = "(no brand stated)"
_USE: Final = """\
## Intended use

Choosing items of this catalogue for users of the shop that the {origin} come from, by their history, their search, or
both. A probability {meaning}. It is meant for
ordering and for thresholds, in this shop.

Out of scope: decisions about users, such as credit, price or access; another shop's catalogue; languages that the base
model was not trained on. A user's history can reveal health, belief or family, and so can what is recommended.
"""


def write_model_card(
    staging: Staging, catalogue: Catalogue, valid: Sequence[LabelledCandidates], probability: npt.NDArray[np.float64]
) -> None:
    """Write the card of a release that has all its models.

    Args:
        staging: The release so far.
        catalogue: Its items.
        valid: The validation users' requests with their candidates.
        probability: The candidates' probabilities, request by request; float64[candidates].
    """
    popularity = np.load(staging.path / POPULARITY).astype(np.float64)
    shown, bought = _exposure(valid, probability, len(catalogue)), _bought(valid, catalogue)
    parts = [
        f"# Model card\n\nA release of Shortlist for `{staging.data.source}`.\n",
        _data(staging, catalogue),
        _use(staging.settings),
        _models(staging.models),
        _tiers(staging),
        _learned_until(staging.learned_until),
        _quality(staging.metrics.get("validation", {})),
        _bias(catalogue, popularity, shown, bought, len(valid)),
    ]
    staging.file(MODEL_CARD).write_text("\n".join(parts))


def update_model_card(staging: Staging, catalogue: Catalogue) -> None:
    """Write the data and the times of an updated release into the card; the rest is as it was when models learned."""
    file = staging.file(MODEL_CARD)
    parts = re.split(r"(?m)^(?=## )", file.read_text())
    changed = {
        "## Data": _data(staging, catalogue) + "\n",
        "## Learned until": _learned_until(staging.learned_until) + "\n",
    }
    file.write_text("".join(changed.get(part.partition("\n")[0], part) for part in parts))


def _data(staging: Staging, catalogue: Catalogue) -> str:
    data, settings = staging.data, staging.settings
    return f"""\
## Data

- Source: {data.source}, {data.events:,} events of {data.items:,} items (fingerprint `{data.fingerprint[:16]}…`).
- Licence: {data.licence}
- The catalogue has {len(catalogue):,} of the items{_chosen(settings)}
"""


def _use(settings: Mapping[str, Any]) -> str:
    recipe = find_recipe(settings.get("recipe", BASKETS.name))
    if recipe.needs_events:
        return _USE.format(
            origin="events", meaning="estimates whether the user takes the item within the release's window of days"
        )
    if recipe.judged:
        return _USE.format(
            origin="judgements",
            meaning="is the expected grade of the item for the search, as a fraction of the highest",
        )
    return _USE.format(origin="items", meaning="estimates whether the title has the words of the search")


def _chosen(settings: Mapping[str, Any]) -> str:
    recipe = find_recipe(settings.get("recipe", BASKETS.name))
    if recipe.judged:
        return "; all are found by their text. Items with at least half the highest grade count as relevant.\n"
    if not recipe.needs_events:
        return """\
; all are found by their text.
- No behaviour of users is known. Searches in training and validation are made of titles; no user typed them. A
  probability says whether a title has the words of a search, not whether a user takes the item.
"""
    if not recipe.windows:
        return "; those without events are found by their text. The relevant item of a request is the next one.\n"
    return f"""\
. Item graphs and popularity count those with at least
  {settings.get("min_buyers", 1)} buyers; the others are found by their text, by filters and by exploration.
- Searches in training and validation are made from titles of bought items; no user typed them."""


def _models(models: Mapping[str, ModelCard]) -> str:
    rows = [
        [name, card.file, card.precision, card.base_model, card.base_model_origin, card.trained_on]
        for name, card in sorted(models.items())
    ]
    return "## Models\n\n" + _table(["model", "file", "precision", "base model", "origin", "trained on"], rows)


def _tiers(staging: Staging) -> str:
    """Say which candidates the text tiers score, by what is known of a request."""
    ranker = json.loads((staging.path / RANKER_SETTINGS).read_text())
    head = "## Second stage\n\n"
    if not {"cross_encoder", "late_interaction"} & set(staging.models):
        return head + (
            "No text tier reads candidates: features alone rank. Neither cross-encoder nor late interaction was asked "
            "for\nand gained NDCG@10 on validation beyond noise.\n"
        )
    if not ranker["plan"]:
        return head + f"Every tier is used for every request; the cross-encoder reads {ranker['depth']} candidates.\n"
    rows = [
        [kind, depths["late_interaction"], depths["cross_encoder"]] for kind, depths in sorted(ranker["plan"].items())
    ]
    note = (
        "Candidates that each text tier scores at most, by what a request knows; 0 where validation shows no gain.\n\n"
    )
    return head + note + _table(["request", "late interaction", "cross-encoder"], rows)


def _learned_until(until: Mapping[str, str]) -> str:
    rows = [[part.replace("_", " "), moment.replace("T", " ")] for part, moment in sorted(until.items())]
    if not rows:
        return "## Learned until\n\nNothing here learns from events.\n"
    note = """\
## Learned until

Events from these moments on had no part. What was validated on windows of time is validated with tables that end before
them; then the tables are counted again, up to the last event.

"""
    return note + _table(["part", "events before"], rows)


def _quality(validation: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [name, kind, f"{value:.4f}"] for name, figures in validation.items() for kind, value in sorted(figures.items())
    ]
    note = "On validation users, who also calibrated the probabilities. For figures on others, run\n"
    return "## Quality\n\n" + note + "`python -m pipeline evaluate`.\n\n" + _table(["", "measure", "value"], rows)


def _bias(catalogue: Catalogue, popularity: Float64Array, shown: Float64Array, bought: Float64Array, users: int) -> str:
    band = band_of(popularity)
    bands = [
        [name, *(_percent(counts, band == number) for counts in (np.ones(len(band)), popularity, bought, shown))]
        for number, name in enumerate(BANDS)
    ]
    head = ["", "of the items", "of past buyers", "of what they bought", "of what they were shown"]
    covered = float((shown > 0).mean())
    return f"""\
## Known biases

The first {_K} items of {users:,} validation requests, compared with what the same users took next. Head: the tenth of
the items that sold most. Tail: items below the median of sales.

### Exposure by popularity

{_table(head, bands)}
{covered:.1%} of the catalogue is among the first {_K} of some request; the Gini coefficient of exposure is
{gini(shown):.3f} (0: all items equally often). Items that sell are shown more, and items that are shown sell more:
watch the long tail's share over releases.

### Exposure by brand

{_by_brand(catalogue, shown, bought)}
### Others

- Users without history get what is popular; nothing else is known of them.
- Items added after the build are found by their text alone.
"""


def _by_brand(catalogue: Catalogue, shown: Float64Array, bought: Float64Array) -> str:
    brands: list[str | None] = catalogue.table["brand"].to_pylist()
    if not any(brands):
        return "The data has no brands.\n"
    names = np.array([brand or _NO_BRAND for brand in brands])
    known, of_item = np.unique(names, return_inverse=True)
    by_brand = np.bincount(of_item, shown, len(known))
    most = np.lexsort((known, -by_brand))[:_BRANDS]
    rows = [
        [known[brand], *(_percent(counts, of_item == brand) for counts in (np.ones(len(names)), bought, shown))]
        for brand in most.tolist()
    ]
    head = ["", "of the items", "of what they bought", "of what they were shown"]
    return f"The {len(most)} of {len(known):,} brands that are shown most.\n\n" + _table(head, rows)


def _exposure(valid: Sequence[LabelledCandidates], probability: npt.NDArray[np.float64], items: int) -> Float64Array:
    """Return how often each item is among a request's first ten; float64[items]."""
    starts = np.cumsum([len(example.labels) for example in valid])[:-1]
    shown = [
        example.candidates.rows[np.argsort(-values, kind="stable")[:_K]]
        for example, values in zip(valid, np.split(probability, starts), strict=True)
    ]
    return np.bincount(np.concatenate(shown), minlength=items).astype(np.float64)


def _bought(valid: Sequence[LabelledCandidates], catalogue: Catalogue) -> Float64Array:
    rows = catalogue.rows_of([item for example in valid for item in sorted(example.request.bought)])
    return np.bincount(rows[rows >= 0], minlength=len(catalogue)).astype(np.float64)


def _percent(counts: Float64Array, of: npt.NDArray[np.bool_]) -> str:
    total = float(counts.sum())
    return f"{counts[of].sum() / total:.1%}" if total else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in row) + " |\n" for row in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
