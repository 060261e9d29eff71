"""Builders of item graphs from sequences, from texts, and from sequences smoothed over texts.

Tables are dense while they are computed, so the catalogue is bounded; a release has each item's best neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from common.arrays import Float32Array
from common.errors import InvalidRequest
from common.release.item_graph import ItemGraph
from pipeline.learning.item_graphs.baskets import again, basket_ease, ease_weights, follow, repeat
from pipeline.learning.item_graphs.purchases import Baskets
from pipeline.learning.item_graphs.sequences import MAX_GAP, Sequences
from pipeline.learning.item_graphs.text_similarity import ItemTexts
from pipeline.release.config.recipe import GraphSpec

Table = Any  # sparse or dense, float [items, items]; scipy has no types
# 20,000 items squared take 1.6 GB.
MAX_ITEMS: Final = 20_000
_GROUP_PRIOR: Final = 5.0
# Kinds that use only texts: they do not change with the known events.
TEXT_KINDS: Final = ("text", "alike")


@dataclass(frozen=True, eq=False)
class GraphInputs:
    """The inputs of graphs.

    Attributes:
        sequences: Items of each user, in order.
        texts: Texts of the items.
        baskets: Baskets with times; None if a recipe has no graphs of baskets.
    """

    sequences: Sequences
    texts: ItemTexts
    baskets: Baskets | None = None

    @property
    def known_baskets(self) -> Baskets:
        """The baskets; raises InvalidRequest if there are none."""
        if self.baskets is None:
            raise InvalidRequest("this recipe needs baskets, and events without times have none")
        return self.baskets


def item_graphs(
    specs: Mapping[str, GraphSpec], evidence: GraphInputs, neighbours: int
) -> Iterator[tuple[str, ItemGraph]]:
    """Compute each graph in turn.

    Args:
        specs: Specification of each graph by name.
        evidence: The inputs.
        neighbours: Number of neighbours of each item.

    Raises:
        InvalidRequest: The catalogue is too large for tables of all pairs.
    """
    if evidence.sequences.items > MAX_ITEMS:
        raise InvalidRequest(
            f"this recipe computes tables of all pairs, for {MAX_ITEMS:,} items at most; the catalogue has "
            f"{evidence.sequences.items:,}: raise min_buyers, or choose the recipe baskets"
        )
    for name, spec in specs.items():
        yield name, strongest(BUILDERS[spec.kind](evidence, **spec.options), neighbours)


def strongest(table: Table, count: int) -> ItemGraph:
    """Return the ``count`` largest positive entries of each row; ties are broken deterministically."""
    values = np.asarray(table.toarray() if sp.issparse(table) else table, np.float32)
    count = min(count, values.shape[1])
    columns = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    kept = np.take_along_axis(values, columns, axis=1)
    above = kept > 0
    indptr = np.concatenate([[0], np.cumsum(above.sum(axis=1))])
    return ItemGraph(indptr.astype(np.int64), columns[above].astype(np.int32), kept[above])


def _cooccurrence(
    evidence: GraphInputs,
    *,
    decay: float,
    forward: float = 1.0,
    back: float = 0.0,
    prior: float = 0.0,
    power: float = 1.0,
    damp: float = 0.0,
) -> sp.csr_matrix:
    """Counts both ways, divided by (row sum + prior)^power and (popularity of the neighbour + 1)^damp."""
    counts = evidence.sequences.pairs(decay)
    table = _row_scaled(forward * counts + back * counts.T, prior, power)
    return table @ sp.diags((evidence.sequences.events() + 1.0) ** -damp) if damp else table


def _ease(evidence: GraphInputs, *, l2: float, words: float = 0.0) -> Float32Array:
    """EASE (Steck, WWW 2019) in closed form; ``words`` stacks the items' words under the users, with that weight."""
    taken = evidence.sequences.taken()
    gram = (taken.T @ taken).toarray()
    if words:
        gram += words * evidence.texts.cosines("words")
    return ease_weights(gram, l2)


def _of_baskets(maker: Callable[..., Table]) -> Callable[..., Table]:
    """Return what makes a table of the evidence's baskets."""
    return lambda evidence, **options: maker(evidence.known_baskets, **options)


def _alike(evidence: GraphInputs, *, kernel: str) -> sp.csr_matrix:
    """The items whose texts are nearest, their weights adding up to at most 1; an item itself left out."""
    table = evidence.texts.kernels[kernel].copy()
    table.setdiag(0)
    table.eliminate_zeros()
    return table


def _ridge(evidence: GraphInputs, *, l2: float, decay: float) -> Float32Array:
    """Ridge regression of the next purchase on the decayed items before it, as SLIT does (Choi et al., WWW 2021)."""
    sequences = evidence.sequences
    events = len(sequences.rows)
    shape = (events, sequences.items)
    before = sp.csr_matrix(shape, dtype=np.float32)
    for gap in range(1, MAX_GAP // 2 + 1):
        earlier, later = sequences.followed(gap)
        weights = sequences.counts[earlier] * np.float32(decay ** (gap - 1))
        before = before + sp.csr_matrix((weights, (later, sequences.rows[earlier])), shape)
    after = sp.csr_matrix((np.ones(events, np.float32), (np.arange(events), sequences.rows)), shape)
    if sequences.targets is not None:
        before, after = before[sequences.targets], after[sequences.targets]
    gram = (before.T @ before).toarray()
    gram[np.diag_indices_from(gram)] += l2
    return np.asarray(np.linalg.solve(gram, (before.T @ after).toarray()), np.float32)


def _svd(evidence: GraphInputs, *, width: int) -> Float32Array:
    """Cosines of items in a truncated SVD of positive pointwise mutual information (Levy and Goldberg, NIPS 2014)."""
    counts = evidence.sequences.pairs(0.6)
    both = (counts + counts.T).tocoo()
    total = np.asarray((counts + counts.T).sum(axis=1)).ravel()
    chance = total**0.75 / max((total**0.75).sum(), 1e-9)
    information = np.log(both.data / np.maximum(total[both.row] * chance[both.col], 1e-12) + 1e-12)
    kept = information > 0
    table = sp.csr_matrix((information[kept], (both.row[kept], both.col[kept])), both.shape)
    left, sizes, _ = randomized_svd(table, min(width, *table.shape), random_state=0, n_iter=4)
    points = left * np.sqrt(sizes)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)
    return np.asarray(points @ points.T, np.float32)


def _walk(evidence: GraphInputs, *, decay: float, back: float) -> sp.csr_matrix:
    """Two steps of a random walk over the co-occurrences."""
    once = _cooccurrence(evidence, decay=decay, back=back, prior=1.0)
    return once @ once


def _smoothed(evidence: GraphInputs, *, kernel: str, sides: str) -> sp.csr_matrix:
    """Co-occurrences spread over items that are alike: those gone ``from``, those gone ``to``, or ``both``."""
    counts = evidence.sequences.pairs(0.6)
    counts, alike = counts + 0.5 * counts.T, evidence.texts.kernels[kernel]
    if sides == "to":
        return _row_scaled(counts, 0.0, 0.5) @ alike.T
    return _row_scaled(alike @ counts if sides == "from" else alike @ counts @ alike.T, 0.0, 0.5)


def _groups(evidence: GraphInputs, *, by: str) -> Float32Array:
    """P(group of the next | group) times the item's share of its group, shrunk to the groups' popularity."""
    member, events = evidence.texts.group(by), evidence.sequences.events()
    counts = evidence.sequences.pairs(0.6)
    moved = (member.T @ (counts + 0.5 * counts.T) @ member).toarray()
    size = np.asarray(member.T @ events).ravel()
    chance = size / max(size.sum(), 1e-9)
    moved = (moved + _GROUP_PRIOR * chance) / (moved.sum(axis=1, keepdims=True) + _GROUP_PRIOR)
    inside = events / np.maximum(member @ size, 1.0)
    return np.asarray(((member @ moved) @ member.T) * inside, np.float32)


def _text(evidence: GraphInputs, *, of: str) -> Float32Array:
    """How alike texts are, an item and itself included."""
    return evidence.texts.cosines(of)


def _row_scaled(counts: sp.csr_matrix, prior: float, power: float) -> sp.csr_matrix:
    total = np.asarray(counts.sum(axis=1)).ravel() + prior
    scale = np.where(total > 0, np.maximum(total, 1e-9) ** -power, 0.0)
    return sp.diags(scale.astype(np.float32)) @ counts


BUILDERS: Final[Mapping[str, Callable[..., Table]]] = {
    "cooccurrence": _cooccurrence,
    "ease": _ease,
    "ridge": _ridge,
    "svd": _svd,
    "walk": _walk,
    "smoothed": _smoothed,
    "groups": _groups,
    "text": _text,
    "alike": _alike,
    "repeat": _of_baskets(repeat),
    "again": _of_baskets(again),
    "follow": _of_baskets(follow),
    "basket_ease": _of_baskets(basket_ease),
}
