import math

import pytest

from animatediff.errors import InputError
from animatediff.evaluation.intervals import (
    Share,
    mean_of,
    median_of,
    ratio_of_means,
    ratio_of_medians,
    wilson_interval,
)


def test_the_wilson_interval_agrees_with_published_values():
    low, high = wilson_interval(81, total=263)  # Newcombe 1998, Table I
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson_interval(0, total=20)
    assert low == 0.0
    assert round(high, 4) == 0.1611
    assert wilson_interval(29, total=29)[1] == 1.0


def test_nothing_counted_says_nothing():
    assert wilson_interval(0, total=0) == (0.0, 1.0)
    assert Share.of(()).share == 0


def test_a_count_beyond_its_total_is_refused():
    with pytest.raises(InputError, match="5 of 4"):
        wilson_interval(5, total=4)


def test_a_share_counts_what_is_true():
    share = Share.of([True, False, True, True])
    assert (share.count, share.total, share.share) == (3, 4, 0.75)
    assert share.low < 0.75 < share.high
    assert "3 of 4" in str(share)


def test_estimates_are_repeatable_and_hold_their_value():
    values = [1.0, 2.0, 3.0, 10.0]
    assert median_of(values) == median_of(values)
    assert median_of(values).value == 2.5
    assert mean_of(values).value == 4.0
    assert mean_of(values).low <= 4.0 <= mean_of(values).high
    assert math.isnan(mean_of([]).value)


def test_a_ratio_of_medians_resamples_pairs():
    doubled = ratio_of_medians([2.0, 4.0, 6.0], reference=[1.0, 2.0, 3.0])
    assert (doubled.value, doubled.low, doubled.high) == (2.0, 2.0, 2.0)


def test_a_ratio_of_means_resamples_pairs():
    doubled = ratio_of_means([2.0, 4.0, 9.0], reference=[1.0, 2.0, 4.5])
    assert (doubled.value, doubled.low, doubled.high) == (2.0, 2.0, 2.0)
    assert math.isnan(ratio_of_means([1.0], reference=[0.0]).value)


def test_a_ratio_to_nothing_is_not_a_number_and_says_so_quietly():
    ratio = ratio_of_medians([1.0, 2.0], reference=[0.0, 0.0])
    assert math.isnan(ratio.value)
    assert math.isnan(ratio.low)
    assert ratio.total == 2
