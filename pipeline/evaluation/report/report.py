"""The evaluation as one self-contained HTML page: no network, no script, charts inline."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.evaluation.analyses import second_stage
from pipeline.evaluation.report import formatting, section_charts
from pipeline.measurement.metrics.beyond_accuracy import MEASURES
from pipeline.measurement.metrics.evaluation_result import Evaluation
from pipeline.measurement.metrics.item_popularity import BANDS
from pipeline.measurement.questions.answers import BOTH, FIRST

_TEMPLATES: Final = Path(__file__).with_name("templates")
_STAGES: Final = ("retrieval", "ranking", "total")


def render_report(evaluation: Evaluation) -> str:
    """Return the page of an evaluation."""
    two_stages = evaluation.modes[BOTH]
    timed = {stage for mode in evaluation.modes.values() for stage in mode.latency}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            evaluation=evaluation,
            two_stages=two_stages,
            headline=_headline(evaluation),
            measures=[*MEASURES, *(name for name in two_stages.measures if name not in MEASURES)],
            stages=[stage for stage in _STAGES if stage in timed],
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (formatting.number, formatting.p_value, formatting.duration, formatting.measure_name):
        environment.filters[function.__name__] = function
    environment.globals |= {
        "charts": section_charts,
        "BOTH": BOTH,
        "SALES": section_charts.SALES,
        "MODE_CLASSES": section_charts.MODE_CLASSES,
        "BAND_CLASSES": dict(zip(BANDS, BANDS, strict=True)),
        "SECOND_STAGE_MEASURES": second_stage.MEASURES,
    }
    return environment


def _headline(evaluation: Evaluation) -> str:
    gain = evaluation.modes[BOTH].over[FIRST]["ndcg@10"]
    both, first = (evaluation.modes[name].measures["ndcg@10"].mean for name in (BOTH, FIRST))
    if gain.low > 0:
        headline = "Two stages beat the first stage alone"
    elif gain.high < 0:
        headline = "Two stages do worse than the first stage alone"
    else:
        headline = "Two stages and the first stage alone do not differ significantly"
    return f"{headline}: NDCG@10 {both:.3f} against {first:.3f} ({gain.mean:+.3f}, {formatting.p_value(gain.p)})."
