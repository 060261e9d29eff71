"""The settings of the answer cache."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from services.gateway.answers.answer_cache import AnswerCacheOptions
from services.gateway.recommendation.recommender import RecommenderOptions


class AnswerCacheSettings(BaseSettings):
    """Whether identical requests share answers, and for how long."""

    answer_cache_s: float = Field(
        0.0,
        ge=0,
        le=3_600,
        description="Seconds for which an answer is kept for identical requests of the same user, which are one while "
        "they are in flight; 0 computes each.",
    )
    answer_cache_size: int = Field(1_000, ge=1, le=1_000_000, description="Answers to keep; the oldest one goes first.")

    def answer_cache_options(self, recommender: RecommenderOptions) -> AnswerCacheOptions | None:
        """Return the options of the cache; None without one."""
        if not self.answer_cache_s:
            return None
        return AnswerCacheOptions(self.answer_cache_s, self.answer_cache_size, recommender)
