"""A shallower cross-encoder: some of a trained one's layers, taught by its logits and by the labels.

The layers are spread evenly over the teacher's, whose head comes along (as in DistilBERT: Sanh et al., arXiv
1910.01108). The student's labels are means of the true ones and the teacher's probabilities: binary cross-entropy is
linear in its label, so that its loss is that of the labels and that of the teacher (Hinton et al., arXiv 1503.02531, at
temperature 1), weighed as the mean is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import nn
from transformers import BertForSequenceClassification

from common.errors import InvalidRequest
from pipeline.learning.examples.ranking_lists import RankingExample
from pipeline.learning.trainers.cross_encoder import train_cross_encoder
from pipeline.learning.training_loop.trainer import OnStep
from pipeline.release.config.training_settings import CrossEncoderTraining

TEACHER_SHARE: Final = 0.5  # of a label


_INITIAL_STUDENT: Final = "start"


def train_student(
    teacher: BertForSequenceClassification,
    examples: Sequence[RankingExample],
    logits: Sequence[npt.NDArray[np.float32]],
    settings: CrossEncoderTraining,
    work: Path,
    on_step: OnStep,
) -> BertForSequenceClassification:
    """Train a student; goes on from the last checkpoint of the same training in ``work``.

    Args:
        teacher: The trained cross-encoder; it is cut down to the student, and of no use afterwards.
        examples: What to learn from.
        logits: The teacher's, by example.
        settings: How, with ``layers`` fewer than the teacher has.
        work: Folder for the training.
        on_step: Told steps done, steps in all, and the recent loss.

    Raises:
        InvalidRequest: The student would not be shallower than its teacher.
    """
    keep_layers(teacher, settings.layers)
    teacher.save_pretrained(work / _INITIAL_STUDENT)
    taught = [with_teacher_labels(*one) for one in zip(examples, logits, strict=True)]
    return train_cross_encoder(work / _INITIAL_STUDENT, taught, settings, work, on_step)


def keep_layers(model: BertForSequenceClassification, count: int) -> None:
    """Drop a model's layers but for ``count`` that are spread over it; raises InvalidRequest where none would go."""
    layers: Any = model.bert.encoder.layer  # typed loosely: the library's modules name their parts by attributes alone
    if not 0 < count < len(layers):
        raise InvalidRequest(f"a student of {len(layers)} layers has 1 to {len(layers) - 1} of them, not {count}")
    model.bert.encoder.layer = nn.ModuleList([layers[place] for place in spread(len(layers), count)])
    model.config.num_hidden_layers = count


def spread(layers: int, count: int) -> list[int]:
    """Return which layers stay: every second one, the lowest first, where half of them do."""
    return [number * layers // count for number in range(count)]


def with_teacher_labels(example: RankingExample, logits: npt.NDArray[np.float32]) -> RankingExample:
    """Return an example whose labels are partly the teacher's probabilities."""
    probability = 1.0 / (1.0 + np.exp(-logits))
    labels = (1 - TEACHER_SHARE) * example.labels + TEACHER_SHARE * probability
    return RankingExample(example.pairs, labels.astype(np.float32))
