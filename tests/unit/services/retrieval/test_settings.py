"""The rules of the retrieval service's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.onnx_session import SessionOptions
from services.retrieval.settings import Settings

STREAM = "redis://redis:6379/0?stream=shop"


def test_one_change_feed_at_a_time(tmp_path: Path):
    """A write-ahead log and a Redis stream together are refused; either alone, or none, is not."""
    assert Settings().data_dir is None
    assert Settings(data_dir=tmp_path).data_dir == tmp_path
    assert Settings(change_stream=STREAM).change_stream == STREAM
    with pytest.raises(ValueError, match="data_dir and change_stream: both store the changes of the catalogue"):
        Settings(data_dir=tmp_path, change_stream=STREAM)


def test_a_change_stream_is_an_address_of_redis():
    """An address with another scheme is refused."""
    with pytest.raises(ValueError, match="not a scheme of Redis"):
        Settings(change_stream="kafka://kafka/0")


def test_settings_become_options_of_the_first_stage():
    """The first stage gets the sizes, shares and threads that were set."""
    settings = Settings(
        ef_search=200, source_depth=50, search_threads=3, query_cache_size=7, max_query_batch=9, encoder_threads=2
    )
    options = settings.first_stage_options()
    assert (options.ef_search, options.depth, options.threads) == (200, 50, 3)
    assert (options.queries.cache_size, options.queries.max_batch) == (7, 9)
    assert options.session == SessionOptions("cpu", "refuse", threads=2)
