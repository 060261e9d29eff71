"""A fake gateway to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shortlist.client.fake import FakeGateway


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway(items=["milk", "bread", "eggs"]) as running:
        yield running
