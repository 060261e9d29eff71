"""What the long tail is."""

from __future__ import annotations

import numpy as np
import pytest

from common.long_tail import long_tail_threshold


@pytest.mark.parametrize(
    ("popularity", "below"),
    [([5, 1, 3], 3.0), ([4, 1, 2, 8], 3.0), ([7, 7, 7], 7.0), ([0, 0, 0, 9], 9.0), ([0, 0], 0.0), ([], 0.0)],
)
def test_the_median_item_is_the_bound(popularity: list[float], below: float):
    """What sold less than the median of the items that sold is of the tail; nothing is where no item sold."""
    assert long_tail_threshold(np.array(popularity, np.float32)) == below
