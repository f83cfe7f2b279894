"""Paired comparisons of two methods on the same prompts, with a test that assumes no distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from animatediff.evaluation.intervals import Estimate, Share, mean_of

PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Paired:
    """One method minus another on the same prompts.

    Attributes:
        difference: the mean difference, with its bootstrap interval over groups of prompts.
        wins: prompts on which the first is higher.
        p: two-sided, by random changes of the signs of the groups' differences.
        p_holm: the same after Holm's correction for all comparisons of a table.
    """

    difference: Estimate
    wins: Share
    p: float
    p_holm: float = math.nan


def paired(
    first: Sequence[float], second: Sequence[float], *, groups: Sequence[int], seed: int = 0
) -> Paired:
    """Compare two methods on the same items.

    Items of one group, such as the same prompt in several models, are not independent. They are
    averaged first, so that the interval and the test count groups.

    Args:
        first: one number for each item.
        second: the other method's, in the same order.
        groups: the group of each item.
        seed: of the resampling.
    """
    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    means = grouped(differences.tolist(), groups=groups)
    return Paired(
        difference=mean_of(means, seed=seed),
        wins=Share.of(bool(value > 0) for value in differences),
        p=sign_flip_p(means, seed=seed),
    )


def grouped(values: Sequence[float], *, groups: Sequence[int]) -> list[float]:
    """Return the mean of each group, in the order of the groups."""
    table: dict[int, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        table.setdefault(group, []).append(value)
    return [float(np.mean(table[group])) for group in sorted(table)]


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p of a mean of 0, if every difference could as well be the opposite.

    All 2^n signs are tried if there are at most 10,000, else 10,000 random ones beside the observed.
    A difference that is no number shows nothing, so p is 1.
    """
    values = np.asarray(differences, np.float64)
    count = len(values)
    if count == 0:
        return math.nan
    if np.isnan(values).any():
        return 1.0
    observed = abs(values.mean()) * (1 - 1e-12)
    if 2**count <= PERMUTATIONS:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((np.abs(signs @ values / count) >= observed).mean())
    signs = np.random.default_rng(seed).choice((-1, 1), size=(PERMUTATIONS, count))
    extreme = int((np.abs(signs @ values / count) >= observed).sum())
    return (extreme + 1) / (PERMUTATIONS + 1)


def with_holm(comparisons: Sequence[Paired]) -> list[Paired]:
    """Return the comparisons with Holm's correction over all of them (Holm, 1979)."""
    order = sorted(range(len(comparisons)), key=lambda index: comparisons[index].p)
    corrected: dict[int, float] = {}
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * comparisons[index].p))
        corrected[index] = running
    return [replace(each, p_holm=corrected[index]) for index, each in enumerate(comparisons)]
