"""How near images are to rendered scenes, and how different one prompt's are."""

import numpy as np
import pytest

from compbench.scorers.clip import ClipScorer
from lab.report.likeness import diversity, features, frechet, scenes
from tests.tiny_base import tiny_base


def test_the_distance_of_two_normal_distributions_is_that_of_means_and_deviations():
    """Of independent columns: the squared distances of means and of deviations, to the sample's error."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (20000, 3)), rng.normal([1, 0, 0], [1, 2, 1], (20000, 3))
    assert frechet(first, first) == pytest.approx(0, abs=1e-6)
    assert frechet(first, second) == pytest.approx(1 + 1, rel=0.05)


def test_diversity_is_of_pairs_of_one_prompt():
    axes = np.eye(4)
    assert diversity(axes[[0, 0, 1, 2]], [7, 7, 8, 8]).mean == pytest.approx(0.5)
    assert diversity(axes, [0, 1, 2, 3]) is None


def test_features_of_scenes_have_length_one_and_are_the_same_each_time():
    scorer = ClipScorer.from_folder(tiny_base() / "clip")
    first = features(scorer, scenes(3, 0))
    assert np.linalg.norm(first, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert (first == features(scorer, scenes(3, 0))).all()
    assert (first != features(scorer, scenes(3, 1))).any()
