"""A model's predictions do not depend on how rows come: alone, in blocks, all at once."""

from __future__ import annotations

import numpy as np
import pytest

from rust_kmeans.workflow._model import distances_to


@pytest.mark.parametrize("n_features", [1, 2, 7, 10, 64, 40_000])
@pytest.mark.parametrize("n_clusters", [1, 2, 9])
def test_a_row_alone_has_the_same_bits_as_among_others(n_features: int, n_clusters: int) -> None:
    random = np.random.default_rng(n_features + n_clusters)
    centers = random.standard_normal((n_clusters, n_features)).astype(np.float32)
    # Blocks are full, and end with one row, with two, with one less.
    block = max((1 << 16) // n_features, 2)
    for n_samples in (2, 3, block, block + 1, 2 * block - 1):
        if n_samples * n_features > 1_000_000:
            continue
        features = random.standard_normal((n_samples, n_features)).astype(np.float32)
        together = distances_to(features, centers)
        some = {0, 1, n_samples // 2, n_samples - 2, n_samples - 1}
        for row in some:
            alone = distances_to(features[row : row + 1], centers)
            assert together[row].tobytes() == alone.tobytes()
        exact = np.linalg.norm(features[:, np.newaxis].astype(float) - centers, axis=2)
        np.testing.assert_allclose(together, exact, rtol=1e-9)


def test_distances_of_rows_next_to_a_center_are_not_lost() -> None:
    center = np.full((1, 3), 1e6)
    row = center + np.array([[0.0, 1e-6, 0.0]])
    assert distances_to(row, center)[0, 0] == pytest.approx(1e-6, rel=1e-3)
    assert distances_to(center, center)[0, 0] == 0.0
