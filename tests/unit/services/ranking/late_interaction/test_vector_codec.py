"""Quantised vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.release.export.late_interaction import fitted_codec
from services.ranking.late_interaction.vector_codec import Bits, VectorCodec

WIDTH = 16


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


vectors_of = st.integers(0, 2**31).map(lambda seed: np.random.default_rng(seed).normal(size=(50, WIDTH)))


@settings(max_examples=25, deadline=None)
@given(vectors=vectors_of, bits=st.sampled_from([4, 8]))
def test_what_is_decoded_is_within_half_a_step(vectors: np.ndarray, bits: Bits):
    """A value within reach comes back to within half a step; one beyond, as the nearest within; codes stay the same."""
    vectors = vectors.astype(np.float32)
    codec = VectorCodec(np.full(WIDTH, 4.0 / (1 << bits), np.float32), bits)
    codes = codec.encode(vectors)
    assert codes.shape == (50, codec.row_bytes)
    assert codes.dtype == np.uint8
    decoded = codec.decode(codes)
    reach = codec.zero * codec.step
    np.testing.assert_allclose(decoded, vectors.clip(-reach, reach), atol=codec.step[0] / 2 + 1e-6)
    np.testing.assert_array_equal(codec.encode(decoded), codes)


@pytest.mark.parametrize(("bits", "loss"), [(4, 0.02), (8, 2e-4)])
def test_a_fitted_codec_loses_little(bits: Bits, loss: float):
    """The steps fitted to each dimension lose a known share of unit vectors' variance, large dimensions or small."""
    sizes = np.geomspace(0.1, 10, WIDTH)
    vectors = (np.random.default_rng(1).normal(size=(4_000, WIDTH)) * sizes).astype(np.float32)
    codec = fitted_codec(vectors, bits)
    lost = ((codec.decode(codec.encode(vectors)) - vectors) ** 2).mean(0) / vectors.var(0)
    assert (lost < loss).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_whole_numbers_multiply_like_fractions(bits: Bits):
    """A dot product by levels is that of the decoded vectors, to what 7 bits of the asking vector lose."""
    generator = np.random.default_rng(3)
    vectors, asking = _unit(generator.normal(size=(2, 30, WIDTH))).astype(np.float32)
    codec = fitted_codec(vectors, bits)
    codes = codec.encode(vectors)
    prepared = codec.prepare_query(asking)
    products = prepared.dot_products(codec.levels(codes).astype(np.int32) @ prepared.codes.astype(np.int32))
    np.testing.assert_allclose(products, codec.decode(codes) @ asking.T, atol=0.02)
    assert np.abs(prepared.codes).max() <= 63


def test_an_asking_vector_of_nothing_finds_nothing():
    """A vector of zeros has zero products, not NaN."""
    codec = VectorCodec(np.ones(WIDTH, np.float32), 8)
    prepared = codec.prepare_query(np.zeros((1, WIDTH), np.float32))
    assert prepared.dot_products(np.full((2, 1), 7, np.int32)) == pytest.approx(0.0, abs=1e-30)
