"""Failures of a stage as errors for callers, where nothing replaces the stage."""

from __future__ import annotations

from common.errors import DeadlineTooShort, NotReady, Overloaded, ShortlistError
from services.gateway.backends.stages import StageFailed, StageOverloaded, StageTooSlow


def error_of(failure: StageFailed) -> ShortlistError:
    """Return the error that a caller gets."""
    match failure:
        case StageOverloaded():
            return Overloaded(str(failure))
        case StageTooSlow():
            return DeadlineTooShort(str(failure))
        case _:
            return NotReady(str(failure))
