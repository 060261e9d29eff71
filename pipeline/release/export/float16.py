"""A float16 form of an exported cross-encoder, for GPUs: half the bytes, and what their tensor cores multiply.

Token ids come in and logits go out as before. Builds do not offer it: rounded to 11 bits after each operator, a pair's
probability moves with its batch-mates by more than a release promises
(`pipeline.build.compression.gate.MAX_BATCH_DEPENDENCE`).
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_float16(file: Path, out: Path) -> None:
    """Write the float16 form of an exported model.

    Args:
        file: The model in float32, see `pipeline.release.export.bert`.
        out: The file to write.
    """
    onnx.save(convert_float_to_float16(onnx.load(file), keep_io_types=True), out)
