"""What a release's second stage consists of, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from common.errors import BadRelease
from common.onnx_session import SessionOptions
from common.release.catalogue import Catalogue
from common.release.event_weights import EventWeights
from common.release.layout import CATALOGUE
from common.release.store import Release
from services.ranking.cascade.fusion_model import FusionModel
from services.ranking.cross_encoder.model import CrossEncoder, has_cross_encoder
from services.ranking.features.feature_context import HalfLives
from services.ranking.features.feature_set import FeatureSet
from services.ranking.features.item_tables import ItemTables
from services.ranking.features.settings import FusionSettings
from services.ranking.late_interaction.scorer import LateInteractionOptions, LateInteractionScorer, has_late_interaction
from services.ranking.late_interaction.tier import LateInteractionTier
from services.ranking.pairs.pair_tokenizer import PairTokenizer


@dataclass(frozen=True, eq=False)
class RankingModels:
    """The models of one release, and what they read.

    Attributes:
        catalogue: The release's items.
        features: Computes the features that the fusion reads.
        fusion: Features to probability.
        tokenizer: Users and items to tokens.
        cross_encoder: Pairs of tokens to logits; None if the release does not have it, because it gains nothing.
        late: Late interaction; None if the release does not have it.
        providers: The execution providers in use, by the models' names in the manifest.
        event_weights: How much an event of each kind counts.
    """

    catalogue: Catalogue
    features: FeatureSet
    fusion: FusionModel
    tokenizer: PairTokenizer
    cross_encoder: CrossEncoder | None
    late: LateInteractionTier | None
    providers: dict[str, str]
    event_weights: EventWeights

    @classmethod
    def load(cls, release: Release, session: SessionOptions, late_options: LateInteractionOptions) -> Self:
        """Load a release's models.

        Args:
            release: A verified release.
            session: How the cross-encoder's session is made.
            late_options: How late interaction runs.

        Raises:
            BadRelease: The release can't be served; the message names the file or feature.
            NotReady: The execution provider is not available.
        """
        if "fusion" not in release.manifest.models:
            raise BadRelease(f"release {release.id}: the manifest lists no model called fusion")
        settings = FusionSettings.load(release)
        catalogue = Catalogue.open(release.file(CATALOGUE))
        half_lives = HalfLives(settings.half_life_long, settings.half_life_short)
        features = FeatureSet(settings.features, ItemTables(release, catalogue), half_lives)
        fusion = FusionModel.load(release, len(settings.features))
        tokenizer = PairTokenizer.load(release, catalogue)
        providers = {"fusion": fusion.provider}
        cross_encoder = late = None
        if has_cross_encoder(release):
            cross_encoder = CrossEncoder.load(release, session)
            providers["cross_encoder"] = cross_encoder.provider
        if has_late_interaction(release):
            scorer = LateInteractionScorer.load(release, len(catalogue), tokenizer.template, late_options)
            providers["late_interaction"] = scorer.provider
            late = LateInteractionTier(scorer, tokenizer)
        return cls(catalogue, features, fusion, tokenizer, cross_encoder, late, providers, settings.events)
