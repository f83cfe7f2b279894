import numpy as np
import pytest

from animatediff.evaluation.intervals import Share, mean_of
from animatediff.evaluation.paired import Paired, paired, sign_flip_p, with_holm


def test_few_differences_are_tested_exactly():
    # Of the 8 signs, only +++ and --- are as extreme.
    assert sign_flip_p([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert sign_flip_p([0.0, 0.0]) == 1


def test_many_differences_have_a_small_p_only_if_they_lean_one_way():
    rng = np.random.default_rng(0)
    assert sign_flip_p((rng.normal(size=60) + 1).tolist()) < 0.001
    assert sign_flip_p(rng.normal(size=60).tolist()) > 0.05


@pytest.mark.parametrize("count", [3, 60])
def test_a_difference_that_is_no_number_is_not_significant(count: int):
    assert sign_flip_p([float("nan")] + [1.0] * count) == 1


def test_items_of_one_group_count_once():
    once = paired([1, 2, 3], [0, 0, 0], groups=[0, 1, 2])
    thrice = paired([1, 2, 3] * 3, [0] * 9, groups=[0, 1, 2] * 3)
    assert thrice.p == once.p
    assert thrice.difference == once.difference
    assert (once.wins.total, thrice.wins.total) == (3, 9)


def test_holm_corrects_the_smallest_most_and_keeps_the_order():
    def of(p: float) -> Paired:
        return Paired(mean_of([0.0]), Share.of([True]), p)

    corrected = with_holm([of(0.04), of(0.01), of(0.03)])
    assert [each.p_holm for each in corrected] == pytest.approx([0.06, 0.03, 0.06])
    assert with_holm([of(0.7), of(0.9)])[1].p_holm == 1
