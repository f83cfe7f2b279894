import numpy as np
import pytest
import scipy.linalg

from animatediff.errors import FileError, InputError
from animatediff.evaluation.frechet import frechet_distance, read_features


def test_the_distance_is_the_published_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 5)), 1 + 2 * rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5))
    covs = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covs[0] @ covs[1]).real
    apart = a.mean(axis=0) - b.mean(axis=0)
    expected = apart @ apart + np.trace(covs[0] + covs[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_fewer_clips_than_features_have_a_finite_distance():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(3, 10)), rng.normal(size=(4, 10))
    assert 0 <= frechet_distance(a, b) < np.inf


def test_equal_sets_are_no_distance_apart_and_never_a_negative_one():
    for seed in range(20):
        features = np.random.default_rng(seed).normal(size=(6, 4))
        distance = frechet_distance(features, features)
        assert 0 <= distance < 1e-6
        assert np.copysign(1, distance) == 1


def test_what_cannot_be_compared_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be compared"):
        frechet_distance(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(InputError, match="at least two clips"):
        frechet_distance(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(FileError, match="cannot be read"):
        read_features(tmp_path / "none.npy")
    for content in (b"no array", b"", b"PK\3\4"):
        (tmp_path / "text.npy").write_bytes(content)
        with pytest.raises(FileError, match="not an array"):
            read_features(tmp_path / "text.npy")
    np.save(tmp_path / "flat.npy", np.zeros(4))
    with pytest.raises(FileError, match="no table of finite numbers"):
        read_features(tmp_path / "flat.npy")
