"""The scores of text rankers for requests with histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.histories.models import CONTEXT_TOWER_FILE, INT8, TOWER_FILE, HistoryModels, load_cross_encoder
from benchmarks.histories.requests import Requests
from common.arrays import Float32Array, RowIndices, TokenIds
from common.onnx_session import OnnxModel, SessionOptions
from common.ragged import TokenRows, offsets_from_lengths, ragged_indices
from pipeline.build.search.search_models import cached_scores
from pipeline.learning.examples.text_pairs import pairs_of, score_pairs
from pipeline.progress import ProgressReport, ProgressStep
from pipeline.release.export.late_interaction import distinct_texts, fitted_codec, products_graph
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.late_interaction.item_vectors import LateItemRows, LateItemVectors
from services.ranking.late_interaction.scorer import LateInteractionOptions, LateInteractionScorer
from services.ranking.late_interaction.tower import LateInteractionTower, Role, TextVectors
from services.ranking.late_interaction.vector_codec import Bits
from services.ranking.pairs.pair_tokenizer import PairTokenizer


def score_requests(model: CrossEncoder, texts: PairTokenizer, requests: Requests, step: ProgressStep) -> Float32Array:
    """Return the cross-encoder's logits of every candidate, one request after the other; float32[candidates]."""
    pairs = [pairs_of(one, np.arange(len(one.labels)), texts) for one in requests.labelled()]
    step.at(0, sum(map(len, pairs)))
    return np.concatenate(score_pairs(model, pairs, step))


def cached_logits(folder: Path, texts: PairTokenizer, requests: Requests, report: ProgressReport) -> Float32Array:
    """Return the logits of a cross-encoder in int8, as it is served; they are computed unless cached."""

    def score() -> Float32Array:
        with report.step(f"Scoring {len(requests):,} requests with the cross-encoder") as step:
            return score_requests(load_cross_encoder(folder / INT8), texts, requests, step)

    return cached_scores(folder / f"logits-{requests.fingerprint()[:16]}.npy", score)


@dataclass(frozen=True, eq=False)
class HistoryLateInteraction:
    """Late interaction over the items, in each bit width.

    Attributes:
        folder: The folder of the tower.
        texts: Histories and items in tokens.
        items: The vectors of the distinct texts, before quantisation.
        text_of_item: The text of each item; int64[items].
    """

    folder: Path
    texts: PairTokenizer
    items: TextVectors
    text_of_item: RowIndices

    @classmethod
    def read(cls, folder: Path, models: HistoryModels, report: ProgressReport) -> HistoryLateInteraction:
        """Return late interaction with the vectors of all items; they are computed unless cached."""
        tokens, text_of_item = distinct_texts(models.catalogue, models.texts)
        file = folder / Path(TOWER_FILE).with_suffix(".npz")
        if not file.exists():
            tower = LateInteractionTower(OnnxModel(folder / TOWER_FILE, SessionOptions()), models.texts.template)
            with report.step(f"Encoding {len(tokens):,} items for late interaction"):
                np.savez(folder / "items.part.npz", **vars(tower(tokens, Role.ITEM)))
            (folder / "items.part.npz").rename(file)
        with np.load(file) as kept:
            return cls(folder, models.texts, TextVectors(**kept), text_of_item)

    def served(self, bits: Bits) -> LateInteractionScorer:
        """Return the tier as it is served, with one thread per request and no context cache."""
        tokens, pooled = fitted_codec(self.items.vectors, bits), fitted_codec(self.items.pooled, 8)
        rows = LateItemVectors(tokens, pooled, LateItemRows.from_vectors(self.items, tokens, pooled), self.text_of_item)
        products = self.folder / "products.onnx"
        onnx.save(products_graph(tokens.width), products)
        tower, context_tower, product = (
            OnnxModel(file, SessionOptions(threads=1))
            for file in (self.folder / TOWER_FILE, self.folder / CONTEXT_TOWER_FILE, products)
        )
        template, uncached = self.texts.template, LateInteractionOptions(context_cache_size=0)
        return LateInteractionScorer(
            LateInteractionTower(tower, template),
            LateInteractionTower(context_tower, template),
            product,
            rows,
            uncached,
        )

    def scores(self, requests: Requests, bits: Bits) -> Float32Array:
        """Return the served scores of every candidate, one request after the other; float32[candidates]."""
        tier = self.served(bits)
        return self._each(requests, lambda context, rows: tier.score_rows(tier.context_vectors(context), rows))

    def exact_scores(self, requests: Requests) -> Float32Array:
        """Return the scores with item vectors before quantisation; contexts are encoded as they are served."""
        model = OnnxModel(self.folder / CONTEXT_TOWER_FILE, SessionOptions(threads=1))
        tower = LateInteractionTower(model, self.texts.template)
        return self._each(
            requests, lambda context, rows: self._exact(tower(TokenRows.from_rows([context]), Role.CONTEXT), rows)
        )

    def _each(self, requests: Requests, score: Callable[[TokenIds, RowIndices], Float32Array]) -> Float32Array:
        scored = [
            score(context_tokens(self.texts, one.user.history), one.candidates.rows) for one in requests.labelled()
        ]
        return np.concatenate(scored)

    def _exact(self, context: TextVectors, rows: RowIndices) -> Float32Array:
        """Score items by all dot products, without optimisation."""
        texts, lengths = self.text_of_item[rows], self.items.lengths
        chosen = ragged_indices(offsets_from_lengths(lengths)[texts], lengths[texts])
        starts = offsets_from_lengths(lengths[texts])[:-1]
        match = np.maximum.reduceat(self.items.vectors[chosen] @ context.vectors.T, starts, axis=0)
        similarity = self.items.pooled[texts] @ context.pooled[0]
        scores: Float32Array = match @ context.weights + similarity + context.prior + self.items.prior[texts]
        return scores


def context_tokens(texts: PairTokenizer, history: RowIndices) -> TokenIds:
    """Return the tokens of the user context of a history."""
    return texts.context("", texts.context_items(history))
