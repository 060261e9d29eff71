"""Building a release from judged searches."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from common.errors import InvalidRequest
from common.release.catalogue import Catalogue
from common.release.layout import CATALOGUE, FUSION_SETTINGS, RANKER_SETTINGS
from common.release.store import Release
from pipeline.build.builder import build
from pipeline.data.dataset.dataset import Dataset
from pipeline.data.dataset.report import DataReport, TableReport
from pipeline.data.ingest.row_filter import no_events
from pipeline.evaluation.command import EvaluationData, run_evaluation
from pipeline.evaluation.evaluation import EvaluationSettings
from pipeline.learning.fusion import tier_plan
from pipeline.progress import ProgressReport
from pipeline.release.config.build_settings import BuildSettings
from pipeline.release.config.recipes import SEARCHES
from pipeline.release.config.training_settings import EncoderTraining, LateTraining
from services.ranking.cascade.results import RequestedDepths
from services.ranking.cascade.second_stage import SecondStage, SecondStageOptions
from services.ranking.request import CallContext, CandidateRows, UserRows

QUIET = ProgressReport(Console(quiet=True))


def _judgements(items: pl.DataFrame) -> pl.DataFrame:
    """Search for two words of a title; items are judged by how many of them their own title has."""
    titles = dict(items.select("item_id", "title").iter_rows())
    draws = np.random.default_rng(4)
    rows = []
    for number, (item_id, title) in enumerate(list(titles.items())[::4]):
        words = title.split()[:2]
        split = "test" if number % 5 == 0 else "train"
        for other in [item_id, *draws.choice(list(titles), 5, replace=False).tolist()]:
            grade = float(sum(word in titles[other].split() for word in words))
            rows.append((" ".join(words), other, grade, split))
    frame = pl.DataFrame(rows, schema=["query", "item_id", "relevance", "split"], orient="row")
    return frame.unique(["query", "item_id"], keep="first", maintain_order=True)


@pytest.fixture(scope="module")
def judged(tiny_items: pl.DataFrame) -> Dataset:
    """The tiny shop's items with judged searches, and nobody who bought anything."""
    judgements = _judgements(tiny_items)
    tables = {"items": TableReport(rows_in=tiny_items.height, rows_out=tiny_items.height)}
    return Dataset(tiny_items, no_events(), judgements, DataReport(source="tiny", licence="none", tables=tables))


@pytest.fixture(scope="module")
def settings(tiny_settings: BuildSettings) -> BuildSettings:
    """Settings that build in seconds, with a fine-tuned encoder."""
    encoder = EncoderTraining(epochs=1, mined=1, mined_from=3)
    late = LateTraining(layers=2, width=8, requests_per_step=8, epochs=2)
    return dataclasses.replace(
        tiny_settings, recipe=SEARCHES.name, trees=10, boosters=1, encoder=encoder, late_bits=8, late=late
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trained models are kept."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def release(
    judged: Dataset, settings: BuildSettings, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Release:
    """A release of judged searches."""
    return build(judged, tmp_path_factory.mktemp("searches"), settings, QUIET, models_dir=models)


def test_models_of_folds_and_of_everything_are_trained_and_kept(release: Release, models: Path):
    """Two folds and the whole make three models of each kind; the release tells what it read and what it reached."""
    kept = sorted(folder.name.rpartition("-")[0] for folder in models.iterdir())
    assert kept == ["base-encoder"] + ["cross-encoder"] * 3 + ["encoder"] * 3 + ["late-interaction"] * 3
    features = json.loads(release.file(FUSION_SETTINGS).read_text())["features"]
    assert features == [*SEARCHES.features, *SEARCHES.logit_features, *SEARCHES.late_features]
    validation = release.manifest.metrics["validation"]
    assert set(validation) == {
        *("encoder", "cross-encoder", "late interaction", "fusion", "fusion without the logit"),
        *("fusion without logit and late interaction", "calibration"),
    }
    assert validation["fusion"]["spearman"] > validation["encoder"]["spearman"]


def test_serving_ranks_what_has_the_words_first(release: Release, judged: Dataset):
    """The served second stage gives test queries' items probabilities that agree with their grades."""
    catalogue = Catalogue.open(release.file(CATALOGUE))
    assert judged.judgements is not None
    test = judged.judgements.filter(pl.col("split") == "test").group_by("query").agg("item_id", "relevance")

    async def rank() -> list[float]:
        second, agreeing = SecondStage.load(release, SecondStageOptions()), []
        for query, item_ids, grades in test.iter_rows():
            rows = catalogue.rows_of(item_ids)
            user, terms = UserRows(np.empty(0, np.int64), query), CallContext(time.monotonic() + 60)
            ranked = await second.rank(
                user, CandidateRows.from_rows(rows), {}, RequestedDepths(cross_encoder=len(rows)), terms
            )
            agreeing.append(float(np.array(grades)[ranked.probability.argmax()] == max(grades)))
        second.close()
        return agreeing

    assert np.mean(asyncio.run(rank())) > 0.8


def test_the_same_models_make_the_same_release(
    release: Release, judged: Dataset, settings: BuildSettings, models: Path, tmp_path: Path
):
    """Kept models are used again: nothing is trained, and the release has the same id."""
    before = sorted(models.rglob("done.json"))
    stamps = [file.stat().st_mtime_ns for file in before]
    again = build(judged, tmp_path, settings, QUIET, models_dir=models)
    assert again.id == release.id
    assert [file.stat().st_mtime_ns for file in sorted(models.rglob("done.json"))] == stamps


def test_without_epochs_the_encoder_stays_the_base_model(
    judged: Dataset, settings: BuildSettings, models: Path, tmp_path: Path
):
    """The card says that the encoder was trained on nothing; with few judgements or compressed nothing is built.

    Without late interaction the release has no such tier, and the fusion reads none.
    """
    zero_shot = dataclasses.replace(settings, encoder=EncoderTraining(epochs=0), late_bits=0)
    built = build(judged, tmp_path, zero_shot, QUIET, models_dir=models)
    assert built.manifest.models["encoder"].trained_on.startswith("nothing")
    assert "late_interaction" not in built.manifest.models
    assert json.loads(built.file(FUSION_SETTINGS).read_text())["features"] == [
        *SEARCHES.features,
        *SEARCHES.logit_features,
    ]
    refused = (
        ({"student_layers": 1}, "smaller cross-encoder"),
        ({"trim_vocabulary": True}, "smaller cross-encoder"),
        ({"cross_encoder_depth": 0, "late_bits": 8}, "late_bits"),
        ({"folds": 1_000}, "folds"),
    )
    for changed, wrong in refused:
        with pytest.raises(InvalidRequest, match=wrong):
            build(judged, tmp_path / wrong, dataclasses.replace(settings, **changed), QUIET, models_dir=models)


@pytest.mark.parametrize("gains", [True, False])
def test_reading_is_trained_and_kept_where_it_gains(
    judged: Dataset, settings: BuildSettings, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gains: bool
):
    """A short training decides; what gains is trained, in int8, planned for queries alone, and else is not there."""
    monkeypatch.setattr(tier_plan, "lower_bound", lambda *_: 0.1 if gains else -0.1)
    planned = dataclasses.replace(
        settings, tiers="planned", precision="int8", max_ndcg_loss=0.9, min_gain_per_ms=-1e9, cross_encoder_depth=9
    )
    release = build(judged, tmp_path, planned, QUIET, models_dir=models)
    assert bool(release.manifest.metrics["short training"]["gains"]) == gains
    plan = json.loads(release.file(RANKER_SETTINGS).read_text())["plan"]
    assert plan["both"] == plan["query"]
    assert plan["history"] == plan["new_user"] == {"late_interaction": 0, "cross_encoder": 0}
    names = json.loads(release.file(FUSION_SETTINGS).read_text())["features"]
    trained = {"cross_encoder", "late_interaction"} & set(release.manifest.models)
    if gains:
        assert trained == {"cross_encoder", "late_interaction"}
        assert release.manifest.models["cross_encoder"].precision == "int8"
        assert plan["query"]["cross_encoder"] == 9
        assert names == [*SEARCHES.features, *SEARCHES.logit_features, *SEARCHES.late_features]
    else:
        assert not trained
        assert not (release.path / "late").exists()
        assert plan["query"] == {"late_interaction": 0, "cross_encoder": 0}
        assert names == list(SEARCHES.features)
    SecondStage.load(release, SecondStageOptions()).close()


def test_the_release_is_evaluated_by_its_judged_queries(release: Release, judged: Dataset, tmp_path: Path):
    """`evaluate --protocol judged` measures a release without events, figures and report included."""
    judged.save(tmp_path / "data")
    where = EvaluationData(data=tmp_path / "data", protocol="judged", users=5)
    found = run_evaluation(
        str(release.path), where, EvaluationSettings(limit=20), tmp_path / "report.html", None, QUIET
    )
    assert found.questions == 5
    assert 0 < found.modes["two stages"].measures["ndcg@10 judged"].mean <= 1
    assert (tmp_path / "report.html").stat().st_size > 0
