"""What makes a release, apart from its data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

from common.errors import InvalidRequest
from pipeline.release.config.recipe import Recipe
from pipeline.release.config.recipes import BASKETS, find_recipe
from pipeline.release.config.training_settings import ON_PURCHASES, CrossEncoderTraining, EncoderTraining, LateTraining
from services.retrieval.ann.ann_index import AnnKind

_LONGEST_WINDOW_DAYS: Final = 3_650


Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class BuildSettings:
    """How a release is built.

    Attributes:
        recipe: What the release is made of; a name of `pipeline.release.config.recipes.RECIPES`.
        added_sources: Sources of the first stage beside the recipe's; see `pipeline.release.config.recipe.ADDABLE`.
        base_model: What encoder and cross-encoder grow from; see `pipeline.release.models.base_model`.
        query_prefix: Goes before queries, where the base model was trained with one, such as "query: ".
        item_prefix: Goes before items' texts, such as "passage: ".
        window_days: How far ahead requests are judged, and how long each window is.
        min_buyers: Items with fewer buyers before the windows are left out of the catalogue; purchases of them count
            as missed.
        half_life: After how many events a history event counts half, in the first stage.
        candidates: How many candidates the second stage is given.
        read: How many of them the cross-encoder reads.
        training_requests: Requests that the fusion learns from at most.
        read_requests: How many of those it learns from with logits.
        valid_users: Users for weights and calibration at most.
        test_users: Users held out for the evaluation at most.
        bag: Boosters that are averaged, where a recipe learns the order of candidates.
        trees: Trees of each of them.
        query_share: Share of the requests that are made searches.
        newcomer_share: Share of the requests that are made to know nothing of the user.
        list_size: Candidates in a list that the cross-encoder learns from.
        lists: Lists that it learns from.
        context_items: History items in the user context.
        context_tokens: Tokens of the user context.
        item_tokens: Tokens of an item.
        cross_encoder: How it is fine-tuned.
        encoder: How the encoder is fine-tuned, on judged searches or on purchases; no epochs leave it as it is.
        folds: In how many parts judged queries are held out, so that the fusion reads no score of a model that has
            seen the query.
        precision: Of the cross-encoder as it is served; see `pipeline.build.compression.gate`.
        student_layers: Layers of a shallower cross-encoder that is served in its place, taught by it; 0 for none. See
            `pipeline.learning.training.distillation`.
        trimmed_vocabulary: Whether the models keep only tokens that the catalogue has; see
            `pipeline.release.models.vocabulary_trimming`.
        late_bits: Bits of a dimension of late interaction's token vectors, 4 or 8; 0 builds no such tier.
        late_lists: Lists that late interaction learns from.
        late: How its tower is trained.
        least_gain_per_ms: NDCG@10 on validation that a tier must bring a millisecond to be planned in.
        max_ndcg_loss: The share of NDCG@10 on validation that int8, a student or a trimmed vocabulary may cost, each.
        hnsw_m: Links of a vector in the graph.
        ef_construction: Length of the candidate list while the graph is built.
        index: What searches the vectors: `hnsw`, or `pq`, which is small and quick to change. See docs/index-types.md.
        seed: Of everything drawn.
    """

    recipe: str = BASKETS.name
    added_sources: tuple[str, ...] = ()
    base_model: str = "all-MiniLM-L6-v2"
    query_prefix: str = ""
    item_prefix: str = ""
    window_days: float = 14.0
    min_buyers: int = 5
    half_life: float = 150.0
    candidates: int = 100
    read: int = 15
    training_requests: int = 2_400
    read_requests: int = 200
    valid_users: int = 160
    test_users: int = 250
    bag: int = 3
    trees: int = 250
    query_share: float = 0.4
    newcomer_share: float = 0.05
    list_size: int = 12
    lists: int = 360
    context_items: int = 8
    context_tokens: int = 40
    item_tokens: int = 16
    cross_encoder: CrossEncoderTraining = field(default_factory=CrossEncoderTraining)
    encoder: EncoderTraining = field(default_factory=lambda: EncoderTraining(epochs=0))
    folds: int = 2
    precision: Precision = "fp32"
    student_layers: int = 0
    trimmed_vocabulary: bool = False
    late_bits: Literal[0, 4, 8] = 0
    late_lists: int = 1_200
    late: LateTraining = field(default_factory=lambda: LateTraining(layers=3, learning_rate=3e-4))
    least_gain_per_ms: float = 1e-4
    max_ndcg_loss: float = 0.01
    hnsw_m: int = 16
    ef_construction: int = 200
    index: AnnKind = "hnsw"
    seed: int = 7

    def __post_init__(self) -> None:
        sound = {
            "window_days must be a number of days above 0, at most 3,650": 0 < self.window_days <= _LONGEST_WINDOW_DAYS,
            "min_buyers must be 0 or above": self.min_buyers >= 0,
            "folds must be 2 or above": self.folds > 1,
            "seed must be 0 or above": self.seed >= 0,
            "student_layers must be below the cross-encoder's layers": 0
            <= self.student_layers
            < self.cross_encoder.layers,
        }
        faults = [what for what, holds in sound.items() if not holds]
        if faults:
            raise InvalidRequest("; ".join(faults))

    def made_of(self) -> Recipe:
        """Return the recipe, with the sources added.

        Raises:
            NotFound: There is no such recipe.
            InvalidRequest: There is no such source to add.
        """
        return find_recipe(self.recipe).with_sources(self.added_sources)

    @classmethod
    def of(cls, recipe: str, **changes: Any) -> Self:
        """Return the settings of a recipe, with changes; raises NotFound where there is no such recipe."""
        return cls(recipe=recipe, **{**find_recipe(recipe).settings, **changes})

    def trained_by(self, processes: int) -> Self:
        """Return the settings with so many processes to fine-tune the cross-encoder.

        Raises:
            InvalidRequest: They cannot share a step's requests evenly.
        """
        return replace(self, cross_encoder=replace(self.cross_encoder, processes=processes))

    @property
    def compressed(self) -> bool:
        """Whether the cross-encoder is served in another form than it was trained in."""
        return self.precision != "fp32" or bool(self.student_layers) or self.trimmed_vocabulary

    def student_training(self, layers: int) -> CrossEncoderTraining:
        """Return how a shallower student of the cross-encoder is trained: as that was, but once over the examples.

        It begins as a part of what was trained before.
        """
        return replace(self.cross_encoder, layers=layers, epochs=1)

    def encoder_trained(self, epochs: int) -> Self:
        """Return the settings with so many passes of the encoder's fine-tuning, 0 to leave it as it is."""
        judged = find_recipe(self.recipe).judged
        return replace(self, encoder=replace(self.encoder if judged or not epochs else ON_PURCHASES, epochs=epochs))

    def as_json(self) -> dict[str, Any]:
        """Return the settings as the manifest holds them."""
        return dataclasses.asdict(self)
