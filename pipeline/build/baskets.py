"""The build of the recipe `baskets`: windows of time, and what users buy in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Final

import polars as pl
from transformers import BertForSequenceClassification

from common.errors import InvalidRequest
from common.onnx_session import SessionOptions
from common.release import layout
from common.release.catalogue import Catalogue
from pipeline.build.build_steps import BuildSteps
from pipeline.build.compression_gate import Gate, to_int8
from pipeline.build.model_card import write_model_card
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.training_requests import ShopRequest, Users, Windows, draw_users, simulate_cold_start
from pipeline.learning.examples.fusion import FusionExamples, every_tier, quality
from pipeline.learning.examples.labelled_candidates import Labelled, draw_candidates, learn_source_weights
from pipeline.learning.examples.late_interaction import distilled, late_lists
from pipeline.learning.examples.text_pairs import score_pairs, training_lists
from pipeline.learning.fusion.tier_plan import choose_plan, plan_report
from pipeline.learning.fusion.trees import Examples, Fusion, calibrate, export_fusion, fit_behaviour, fit_logits
from pipeline.learning.item_graphs.purchases import Purchases, popularity, transitions
from pipeline.learning.training.distillation import train_student
from pipeline.learning.training.late_interaction import train_late_interaction
from pipeline.release.artifacts.catalogue import build_catalogue
from pipeline.release.export.bert import export_cross_encoder
from pipeline.release.models.tokenizer import plain_tokenizer
from pipeline.release.models.vocabulary_trimming import TOKENIZER, untrimmed
from services.ranking.cascade.tiers import occasion
from services.ranking.cross_encoder.model import CrossEncoder
from services.ranking.pairs.pair_tokenizer import PairTokenizer
from services.ranking.release_settings import RankerSettings

# The first stage without learned weights is only asked for so many requests: enough to learn them.
_WEIGHT_REQUESTS: Final = 400


def catalogue_items(dataset: Dataset, before: datetime, min_buyers: int) -> pl.DataFrame:
    """Return the items with enough buyers before a moment; raises InvalidRequest where there are none."""
    past = dataset.events.filter(pl.col("timestamp") < before)
    buyers = past.group_by("item_id").agg(pl.col("user_id").n_unique().alias("buyers"))
    bought = buyers.filter(pl.col("buyers") >= min_buyers)
    items = dataset.items.join(bought.select("item_id"), on="item_id", how="semi")
    if items.is_empty():
        raise InvalidRequest(f"no item has {min_buyers} buyers before {before:%Y-%m-%d}; lower min_buyers")
    return items


class BasketBuild(BuildSteps):
    """Builds a release from purchases with times."""

    @cached_property
    def windows(self) -> Windows:
        """The moments that part the events."""
        return Windows.of(self.dataset.events, self.settings.window_days)

    @property
    def learnt_from(self) -> str:
        """What the models are trained on, for their cards."""
        return f"what users bought before {self.windows.valid:%Y-%m-%d}"

    def run(self) -> None:
        """Take every step; raises InvalidRequest where the events leave nobody to learn from."""
        self._refuse_no_events()
        catalogue = self._write_catalogue()
        self._export_encoder()
        self._index(catalogue)
        self._train_encoder(catalogue, self.windows)
        self._count_behaviour(catalogue)
        users = self._draw_users(catalogue)
        self._learn_weights(users)
        train, valid = self._draw_candidates(users)
        model = self._train_cross_encoder(catalogue, train, valid)
        self._compress(catalogue, model, train, Gate(self.staging, valid, self.settings.max_ndcg_loss, self.report))
        self._train_late_interaction(catalogue, train)
        self._fuse(catalogue, train, valid)

    def _items(self) -> pl.DataFrame:
        return catalogue_items(self.dataset, self.windows.tables, self.settings.min_buyers)

    def _count_behaviour(self, catalogue: Catalogue) -> None:
        with self.report.step("Counting what follows what"):
            past = self.dataset.events.filter(pl.col("timestamp") < self.windows.tables)
            purchases = Purchases.of(past, catalogue, self.windows.tables)
            for name, graph in transitions(purchases, len(catalogue)).items():
                graph.save(self.staging.path, name)
            buyers = popularity(purchases, len(catalogue)).buyers
            self._write_array(layout.POPULARITY, buyers)
        self._write_retrieval({})

    def _draw_users(self, catalogue: Catalogue) -> Users:
        settings = self.settings
        with self.report.step("Drawing users to learn from"):
            users = draw_users(
                self.dataset.events,
                self.windows,
                train=settings.training_requests,
                valid=settings.valid_users,
                test=settings.test_users,
                seed=settings.seed,
            )
            if not users.train or not users.valid or not users.test:
                raise InvalidRequest("the events leave nobody to learn from; choose other windows")
            titles = dict(zip(catalogue.item_ids, catalogue.table["title"].to_pylist(), strict=True))
            searches, newcomers, seed = settings.query_share, settings.newcomer_share, settings.seed
            return dataclasses.replace(
                users,
                train=simulate_cold_start(users.train, titles, searches=searches, newcomers=newcomers, seed=seed),
                valid=simulate_cold_start(users.valid, titles, searches=searches, newcomers=newcomers, seed=seed + 1),
            )

    def _learn_weights(self, users: Users) -> None:
        requests = users.train[:_WEIGHT_REQUESTS]
        with (
            self._first_stage() as first_stage,
            self.report.step("Learning the sources' weights", len(requests)) as step,
        ):
            drawn = draw_candidates(first_stage, requests, self.settings.candidates * 3, step)
            self._write_retrieval(learn_source_weights(drawn, first_stage.sources))

    def _draw_candidates(self, users: Users) -> tuple[list[Labelled], list[Labelled]]:
        requests: Sequence[ShopRequest] = [*users.train, *users.valid]
        with self._first_stage() as first_stage, self.report.step("Finding candidates", len(requests)) as step:
            drawn = draw_candidates(first_stage, requests, self.settings.candidates, step)
        return drawn[: len(users.train)], drawn[len(users.train) :]

    def _compress(
        self, catalogue: Catalogue, model: BertForSequenceClassification, train: Sequence[Labelled], gate: Gate
    ) -> None:
        """Replace the cross-encoder by the smaller forms that the settings ask for, each judged before the next."""
        if self.settings.trimmed_vocabulary:
            self._check_vocabulary(catalogue, model, gate)
        if self.settings.student_layers:
            self._train_student(catalogue, model, train, gate)
        if self.settings.precision == "int8":
            to_int8(self.staging, catalogue, train, gate)

    def _check_vocabulary(self, catalogue: Catalogue, model: BertForSequenceClassification, gate: Gate) -> None:
        """Judge the trimmed vocabulary against the base model's own."""
        release, whole = self.staging.release(), self.staging.path.with_name("untrimmed.onnx")
        tokenizer = plain_tokenizer(str(self.whole_base.path / TOKENIZER))
        items = build_catalogue(self._items(), tokenizer, self.settings.item_tokens)
        export_cross_encoder(untrimmed(model, self.whole_base), whole)
        before = gate.form(whole, PairTokenizer(items, tokenizer, RankerSettings.load(release)))
        after = gate.form(release.file(layout.CROSS_ENCODER), PairTokenizer.load(release, catalogue))
        gate.judge("trimmed vocabulary", before, after)
        whole.unlink()

    def _train_student(
        self, catalogue: Catalogue, teacher: BertForSequenceClassification, train: Sequence[Labelled], gate: Gate
    ) -> None:
        """Train a shallower cross-encoder on the same lists, and put it in its teacher's place."""
        settings, release = self.settings, self.staging.release()
        texts, work = PairTokenizer.load(release, catalogue), self.staging.checkpoints.with_name("student-checkpoints")
        chosen = training_lists(
            self._learnable(train), texts, lists=settings.lists, size=settings.list_size, seed=settings.seed
        )
        lists = list(chosen)
        with self.report.step("Having the cross-encoder teach", sum(len(one.pairs) for one in lists)) as step:
            logits = score_pairs(CrossEncoder.load(release, SessionOptions()), [one.pairs for one in lists], step)
        training = settings.student_training(settings.student_layers)
        with self.report.step(f"Training a student of {training.layers} layers") as step:
            student = train_student(teacher, lists, logits, training, work, lambda done, total, _: step.at(done, total))
        smaller = self.staging.path.with_name("student.onnx")
        worst = export_cross_encoder(student, smaller)
        gate.replace("student", texts, smaller)
        card = self.staging.models["cross_encoder"]
        trained = f"{card.trained_on}, and by a cross-encoder of {settings.cross_encoder.layers} layers on the same"
        self.staging.models["cross_encoder"] = card.model_copy(
            update={"trained_on": trained, "parity_max_abs_error": worst}
        )

    def _train_late_interaction(self, catalogue: Catalogue, train: Sequence[Labelled]) -> None:
        """Train the late-interaction tower and encode every item, where the settings ask for the tier."""
        settings = self.settings
        if not settings.late_bits:
            return
        texts = PairTokenizer.load(self.staging.release(), catalogue)
        with self.report.step("Having the cross-encoder teach late interaction") as step:
            cross_encoder = CrossEncoder.load(self.staging.release(), SessionOptions())
            first, size, seed = self._before_the_fusion(train), settings.list_size, settings.seed
            chosen = late_lists(first, texts, lists=settings.late_lists, size=size, seed=seed)
            # The cross-encoder learnt from the first lists: of these its logits would tell the labels once more.
            examples = distilled(chosen, texts, cross_encoder, settings.lists, step)
        with self.report.step("Training late interaction") as step:
            work = self.staging.checkpoints.with_name("late-checkpoints")
            graph = train_late_interaction(
                self.base.path,
                examples,
                texts.template,
                settings.late,
                work,
                lambda done, total, _: step.at(done, total),
            )
        self._write_late_interaction(graph, settings.late_bits, f"{len(examples)} lists of {self.learnt_from}")

    def _plan_tiers(
        self, examples: FusionExamples, valid: Sequence[Labelled], checked: Examples, fusion: Fusion
    ) -> None:
        """Choose how deep the tiers go on each occasion, by what a millisecond brings the validation users."""
        options = examples.options(valid, checked, fusion)
        occasions = [occasion(example.user, example.candidates) for example in valid]
        self._write_ranker_settings(choose_plan(options, occasions, self.settings.least_gain_per_ms))
        self.staging.metrics["tiers"] = plan_report(options, occasions)

    def _fuse(self, catalogue: Catalogue, train: Sequence[Labelled], valid: Sequence[Labelled]) -> None:
        settings, features = self.settings, self.features
        self._write_fusion_settings()
        examples = FusionExamples(self.staging.release(), catalogue, features, settings.read)
        with self.report.step("Reading pairs for the fusion") as step:
            behaviour = examples.learnable(train)
            first = fit_behaviour(behaviour, features, settings.seed)
            read = examples.read(train[-settings.read_requests :], first, step)
            checked = examples.served(valid, first, step)
        if not checked.labels.any():
            raise InvalidRequest("no validation user bought a candidate, so nothing can be calibrated")
        with self.report.step("Fitting and calibrating the fusion"):
            fusion = calibrate([fit_logits(first, read, features, settings.seed)], every_tier(checked, features))
            worst = export_fusion(fusion, self.staging.file(layout.FUSION), checked.features)
            self.staging.metrics["validation"] = quality(valid, checked, fusion, features)
            trained = f"{len(train)} requests before {self.windows.valid:%Y-%m-%d}, calibrated on {len(valid)} others"
            self.staging.models["fusion"] = self._fusion_card(trained, worst)
            if settings.late_bits:
                self._plan_tiers(examples, valid, checked, fusion)
            write_model_card(self.staging, catalogue, valid, fusion.probability(checked.features))
