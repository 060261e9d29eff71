"""Distils a shallower cross-encoder from a trained one's layers, logits and labels.

The student starts from evenly spaced layers and the head of the teacher (as in DistilBERT: Sanh et al., arXiv
1910.01108). Its labels are weighted means of the true labels and the teacher's probabilities. Binary cross-entropy is
linear in its label, so the loss is the same weighted mean of the label loss and the distillation loss (Hinton et al.,
arXiv 1503.02531, at temperature 1).
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
    """Train a student; resumes from the last checkpoint of the same training in ``work``.

    Args:
        teacher: The trained cross-encoder; it is changed into the student.
        examples: The training examples.
        logits: The teacher's, by example.
        settings: The training settings, with ``layers`` fewer than the teacher has.
        work: Folder of the training.
        on_step: Called with steps done, total steps, and the recent loss.

    Raises:
        InvalidRequest: The student is not shallower than its teacher.
    """
    keep_layers(teacher, settings.layers)
    teacher.save_pretrained(work / _INITIAL_STUDENT)
    distilled = [with_teacher_labels(*one) for one in zip(examples, logits, strict=True)]
    return train_cross_encoder(work / _INITIAL_STUDENT, distilled, settings, work, on_step)


def keep_layers(model: BertForSequenceClassification, count: int) -> None:
    """Keep ``count`` evenly spaced layers of a model; raises InvalidRequest if none is dropped."""
    layers: Any = model.bert.encoder.layer  # the library's modules have untyped attributes
    if not 0 < count < len(layers):
        raise InvalidRequest(
            f"a student of a teacher with {len(layers)} layers has 1 to {len(layers) - 1} of them, not {count}"
        )
    model.bert.encoder.layer = nn.ModuleList([layers[place] for place in spread(len(layers), count)])
    model.config.num_hidden_layers = count


def spread(layers: int, count: int) -> list[int]:
    """Return the layers to keep, evenly spaced from the lowest."""
    return [number * layers // count for number in range(count)]


def with_teacher_labels(example: RankingExample, logits: npt.NDArray[np.float32]) -> RankingExample:
    """Return an example with labels mixed with the teacher's probabilities."""
    probability = 1.0 / (1.0 + np.exp(-logits))
    labels = (1 - TEACHER_SHARE) * example.labels + TEACHER_SHARE * probability
    return RankingExample(example.pairs, labels.astype(np.float32))
