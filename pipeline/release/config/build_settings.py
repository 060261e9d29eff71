"""What makes a release, apart from its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from common.errors import InvalidRequest
from pipeline.data.dataset.event_kinds import read_weights
from pipeline.release.config.field_checks import faults_of
from pipeline.release.config.recipe import ADDABLE, ADDABLE_FEATURES, Recipe
from pipeline.release.config.recipes import BASKETS, RECIPES, find_recipe
from pipeline.release.config.training_settings import ON_PURCHASES, CrossEncoderTraining, EncoderTraining, LateTraining
from services.retrieval.ann.ann_index import AnnKind

_MAX_WINDOW_DAYS: Final = 3_650
_RECIPES: Final = "; ".join(f"{recipe.name} ({recipe.description})" for recipe in RECIPES.values())
Precision = Literal["fp32", "int8"]
WantedPrecision = Literal["auto", "fp32", "int8"]
Tiers = Literal["planned", "always"]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class BuildSettings:
    """How a release is built.

    A field with a description is an option of `python -m pipeline build`, with the field's bounds.

    Attributes:
        cross_encoder: How the cross-encoder is fine-tuned.
        encoder: How the encoder is fine-tuned, on judged searches or on purchases; 0 epochs leave it unchanged.
        late: How the late-interaction tower is trained.

    Raises:
        InvalidRequest: A value is out of bounds; the message names the field.
    """

    recipe: Annotated[str, Field(description=f"What the release is made of: {_RECIPES}.")] = BASKETS.name
    added_sources: Annotated[
        tuple[str, ...],
        Field(
            json_schema_extra={"flag": "--add-source"},
            description=f"Add a candidate source to the recipe's: {' or '.join(ADDABLE)}; may be repeated.",
        ),
    ] = ()
    added_features: Annotated[
        tuple[str, ...],
        Field(
            json_schema_extra={"flag": "--add-feature"},
            description=f"Add a ranking feature to the recipe's: {', '.join(ADDABLE_FEATURES)}; may be repeated.",
        ),
    ] = ()
    seed: Annotated[CountOrZero, Field(description="Random seed.")] = 7
    window_days: Annotated[
        float,
        Field(
            gt=0,
            le=_MAX_WINDOW_DAYS,
            allow_inf_nan=False,
            description="Days ahead that requests are judged by; also the length of each time window.",
        ),
    ] = 14.0
    min_buyers: Annotated[
        CountOrZero,
        Field(
            description="Buyers that an item needs to be counted in item graphs and popularity; others are found too."
        ),
    ] = 5
    training_requests: Annotated[Count, Field(description="Maximum number of requests to learn from.")] = 2_400
    valid_users: Annotated[Count, Field(description="Maximum number of users for validation and calibration.")] = 160
    test_users: Annotated[Count, Field(description="Maximum number of users held out for `evaluate`.")] = 250
    query_share: Annotated[
        Share, Field(description="Fraction of the requests that are turned into searches, made from titles.")
    ] = 0.4
    newcomer_share: Annotated[
        Share, Field(description="Fraction of the requests whose history is hidden, as for new users.")
    ] = 0.05
    folds: Annotated[int, Field(ge=2, description="Folds in which judged queries are held out.")] = 2
    base_model: Annotated[
        str,
        Field(
            description="Model that encoder and cross-encoder start from: a folder, all-MiniLM-L6-v2, or a Hugging "
            "Face id."
        ),
    ] = "all-MiniLM-L6-v2"
    query_prefix: Annotated[
        str, Field(description='Prefix that the base model needs before queries, such as "query: ".')
    ] = ""
    item_prefix: Annotated[
        str, Field(description='Prefix that the base model needs before item texts, such as "passage: ".')
    ] = ""
    trim_vocabulary: Annotated[
        bool, Field(description="Keep only tokens that occur in the catalogue: smaller models.")
    ] = False
    event_weights: Annotated[
        tuple[str, ...],
        Field(
            json_schema_extra={"flag": "--event-weight"},
            description="What an event of a kind counts against a purchase, such as view=0.1; may be repeated. Kinds "
            "without a weight, here or in the mapping of the data, are learned.",
        ),
    ] = ()
    candidates: Annotated[Count, Field(description="Candidates that the second stage gets.")] = 100
    history_half_life: Annotated[
        float,
        Field(
            gt=0,
            allow_inf_nan=False,
            description="Half-life of a history event in the first stage, in later events of the same user.",
        ),
    ] = 150.0
    index: Annotated[
        AnnKind,
        Field(
            description="What searches the item embeddings: hnsw, a graph, or pq, quantised vectors in a twentieth of "
            "the memory, for catalogues that change all day. Fewer than 5,000 texts are compared exactly by default."
        ),
    ] = "hnsw"
    hnsw_m: Annotated[int, Field(ge=2, description="Links of each vector in the HNSW graph.")] = 16
    ef_construction: Annotated[
        Count, Field(description="Length of the candidate list while the HNSW graph is built.")
    ] = 200
    tiers: Annotated[
        Tiers,
        Field(
            description="planned: train the cross-encoder only if a short training gains on held-out requests; keep "
            "a text tier only for the kinds of request in which it gains; always: train and use every tier."
        ),
    ] = "planned"
    cross_encoder_depth: Annotated[
        CountOrZero, Field(description="Candidates that the cross-encoder reads at most; 0 trains none.")
    ] = 15
    cross_encoder_lists: Annotated[
        Count, Field(description="Maximum number of lists that the cross-encoder learns from.")
    ] = 360
    list_size: Annotated[int, Field(ge=2, description="Candidates of each of these lists.")] = 12
    context_items: Annotated[CountOrZero, Field(description="History items in the text of a user.")] = 8
    context_tokens: Annotated[Count, Field(description="Maximum tokens of the text of a user.")] = 40
    item_tokens: Annotated[Count, Field(description="Maximum tokens of the text of an item.")] = 16
    precision: Annotated[
        WantedPrecision,
        Field(
            description="Precision of the cross-encoder: int8 is about twice as fast on CPUs; the build fails if it "
            "ranks worse; auto is int8, or fp32 if int8 ranks worse. GPUs need fp32."
        ),
    ] = "auto"
    student_layers: Annotated[
        CountOrZero,
        Field(description="Layers of a distilled cross-encoder that replaces the full one; 0 trains none."),
    ] = 0
    max_ndcg_loss: Annotated[
        float,
        Field(
            le=1,
            description="Fraction of the validation NDCG@10 that --precision int8, --student-layers and "
            "--trim-vocabulary may each cost.",
        ),
    ] = 0.01
    late_bits: Annotated[
        Literal[0, 4, 8],
        Field(description="Bits of each number in the late-interaction vectors: 4 or 8; 0 builds no such tier."),
    ] = 0
    late_lists: Annotated[Count, Field(description="Maximum number of lists that late interaction learns from.")] = (
        1_200
    )
    min_gain_per_ms: Annotated[
        float, Field(description="Validation NDCG@10 that a tier must gain per millisecond to be used by default.")
    ] = 1e-4
    boosters: Annotated[
        Count, Field(description="Boosters whose scores are averaged, if a recipe learns the order of candidates.")
    ] = 3
    trees: Annotated[Count, Field(description="Trees of each booster.")] = 250
    logit_requests: Annotated[
        Count, Field(description="Requests from which the fusion learns to use the cross-encoder's logits.")
    ] = 200
    cross_encoder: CrossEncoderTraining = field(default_factory=CrossEncoderTraining)
    encoder: EncoderTraining = field(default_factory=lambda: EncoderTraining(epochs=0))
    late: LateTraining = field(default_factory=lambda: LateTraining(layers=3, learning_rate=3e-4))

    def __post_init__(self) -> None:
        faults = faults_of(self)
        if self.student_layers >= self.cross_encoder.layers:
            faults.append(
                f"student_layers: must be below the cross-encoder's {self.cross_encoder.layers} layers (given: "
                f"{self.student_layers})"
            )
        if faults:
            raise InvalidRequest("; ".join(faults))
        read_weights(self.event_weights)

    @classmethod
    def from_recipe(cls, recipe: str, **changes: Any) -> Self:
        """Return a recipe's settings with changes; raises NotFound if there is no such recipe."""
        return cls(recipe=recipe, **{**find_recipe(recipe).settings, **changes})

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> BuildSettings:
        """Return the settings of a manifest.

        Raises:
            InvalidRequest: They are of another version of the pipeline.
        """
        try:
            return TypeAdapter(cls).validate_python(dict(settings))
        except ValidationError as error:
            raise InvalidRequest(f"the release has settings of another version; build it again ({error})") from error

    def resolve_recipe(self) -> Recipe:
        """Return the recipe, with the added sources and features.

        Raises:
            NotFound: There is no such recipe.
            InvalidRequest: An added source or feature does not exist, or a recipe must list it.
        """
        recipe = find_recipe(self.recipe).with_sources(self.added_sources)
        return recipe.with_added_features(self.added_features)

    def with_training_processes(self, processes: int) -> Self:
        """Return the settings with this number of processes to fine-tune the cross-encoder.

        Raises:
            InvalidRequest: They cannot share a step's requests evenly.
        """
        return replace(self, cross_encoder=replace(self.cross_encoder, processes=processes))

    def with_encoder_epochs(self, epochs: int) -> Self:
        """Return the settings with this number of epochs to fine-tune the encoder; 0 leaves it unchanged."""
        judged = find_recipe(self.recipe).judged
        return replace(self, encoder=replace(self.encoder if judged or not epochs else ON_PURCHASES, epochs=epochs))

    @property
    def compressed(self) -> bool:
        """Whether a smaller form of the cross-encoder is asked for, and the build fails where none is good enough."""
        return self.precision == "int8" or bool(self.student_layers) or self.trim_vocabulary

    def student_training(self, layers: int) -> CrossEncoderTraining:
        """Return how a shallower student is trained: as the cross-encoder, but for one epoch.

        It starts from the trained teacher's lower layers.
        """
        return replace(self.cross_encoder, layers=layers, epochs=1)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as the manifest holds them."""
        return dataclasses.asdict(self)
