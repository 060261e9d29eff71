"""What a recipe has learned, for the steps after it: measuring, counting up to the last event, the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from common.arrays import Float64Array
from common.release.catalogue import Catalogue
from pipeline.build.completion.model_card import write_model_card
from pipeline.build.context import BuildContext
from pipeline.build.steps.tables import table_writer
from pipeline.data.dataset.training_requests import Windows
from pipeline.gate.questions import GateQuestions
from pipeline.learning.examples.labelled_candidates import LabelledCandidates
from pipeline.tables.replay import TABLES, end_of

WHOLE_SEQUENCES: Final = "the last event of each sequence"


@dataclass(frozen=True)
class Learned:
    """A staged release that has all its models.

    Attributes:
        catalogue: Its items.
        valid: The validation users' requests with their candidates.
        probability: The candidates' probabilities, request by request; float64[candidates].
        windows: The windows that were learned from; None if the recipe has none.
        questions: Requests for the gate that nothing was learned from, and that the staged tables do not have; None if
            they come from the windows.
    """

    catalogue: Catalogue
    valid: Sequence[LabelledCandidates]
    probability: Float64Array
    windows: Windows | None = None
    questions: GateQuestions | None = None


def write_tables_before(context: BuildContext, catalogue: Catalogue, moment: datetime) -> None:
    """Write the tables as they are known at a moment, all that depends on their events included."""
    table_writer(context, catalogue, moment).write_all(context.dataset.events, moment)
    context.staging.learned_until[TABLES] = moment.isoformat()


def finish(context: BuildContext, learned: Learned) -> None:
    """Count the tables up to the last event, and write the model card: nothing is measured from here on."""
    count_everything(context, learned.catalogue)
    write_model_card(context.staging, learned.catalogue, learned.valid, learned.probability)


def count_everything(context: BuildContext, catalogue: Catalogue) -> None:
    """Count the tables up to the last event."""
    end = end_of(context.dataset.events)
    if context.recipe.windows and end is not None:
        write_tables_before(context, catalogue, end)
        return
    table_writer(context, catalogue).write_all(context.dataset.events, None)
    if context.recipe.needs_events:
        context.staging.learned_until[TABLES] = WHOLE_SEQUENCES


def record_learned_until(context: BuildContext, until: datetime | str, *models: str) -> None:
    """Record from when on events had no part in models; words if the events have no times."""
    context.staging.learned_until.update(dict.fromkeys(models, until if isinstance(until, str) else until.isoformat()))
