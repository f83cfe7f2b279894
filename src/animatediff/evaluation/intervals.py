"""Counts, medians and means with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from animatediff.errors import InputError

ITEMS_AT_ONCE = 1_000_000
"""How many resampled items are in memory together."""


def wilson_interval(count: int, *, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share (Wilson, 1927); (0, 1) if nothing was counted.

    Raises:
        InputError: ``count`` is not between 0 and ``total``.
    """
    if not 0 <= count <= total:
        raise InputError(f"A share needs 0 <= count <= total, but {count} of {total} was given.")
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the interval touches 0 or 1 exactly, whatever the rounding.
    low = 0.0 if count == 0 else max(0.0, (centre - spread) / scale)
    high = 1.0 if count == total else min(1.0, (centre + spread) / scale)
    return low, high


@dataclass(frozen=True)
class Share:
    """``count`` of ``total``, with its 95 % Wilson interval."""

    count: int
    total: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Share:
        """Count the true outcomes."""
        listed = [bool(outcome) for outcome in outcomes]
        low, high = wilson_interval(sum(listed), total=len(listed))
        return cls(sum(listed), len(listed), sum(listed) / max(1, len(listed)), low, high)

    def __str__(self) -> str:
        return (
            f"{100 * self.share:.1f} % ({self.count} of {self.total}; "
            f"95 % interval {100 * self.low:.1f} to {100 * self.high:.1f} %)"
        )


@dataclass(frozen=True)
class Estimate:
    """A median or mean with a 95 % bootstrap interval over ``total`` items."""

    value: float
    low: float
    high: float
    total: int

    def __str__(self) -> str:
        interval = f"95 % interval {self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({self.total} items; {interval})"


def median_of(values: Iterable[float], *, seed: int = 0) -> Estimate:
    """Return the median, with an interval from resampling the items."""
    items = np.asarray(list(values), dtype=np.float64)
    return _estimate(lambda rows: np.median(rows[0], axis=-1), items[None], seed=seed)


def mean_of(values: Iterable[float], *, seed: int = 0) -> Estimate:
    """Return the mean, with an interval from resampling the items."""
    items = np.asarray(list(values), dtype=np.float64)
    return _estimate(lambda rows: np.mean(rows[0], axis=-1), items[None], seed=seed)


def ratio_of_medians(
    values: Iterable[float], *, reference: Iterable[float], seed: int = 0
) -> Estimate:
    """Return the ratio of two medians, resampled in pairs (same prompt)."""
    pairs = np.stack([np.fromiter(values, np.float64), np.fromiter(reference, np.float64)])
    return _estimate(lambda rows: _ratio(*np.median(rows, axis=-1)), pairs, seed=seed)


def ratio_of_means(
    values: Iterable[float], *, reference: Iterable[float], seed: int = 0
) -> Estimate:
    """Mean of ``values`` over mean of ``reference``, resampled in pairs (same prompt)."""
    pairs = np.stack([np.fromiter(values, np.float64), np.fromiter(reference, np.float64)])
    return _estimate(lambda rows: _ratio(*np.mean(rows, axis=-1)), pairs, seed=seed)


def _ratio(
    top: Float[np.ndarray, " samples"], bottom: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " samples"]:
    """Return the ratios; NaN where there is nothing to compare with."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _estimate(
    statistic: Callable[[Float[np.ndarray, "rows samples items"]], Float[np.ndarray, " samples"]],
    rows: Float[np.ndarray, "rows items"],
    *,
    seed: int,
    resamples: int = 1000,
) -> Estimate:
    total = rows.shape[1]
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    generator = np.random.default_rng(seed)
    # Many resamples at once are quick, and a bounded number of them is small.
    at_once = max(1, ITEMS_AT_ONCE // total)
    values = np.concatenate(
        [
            statistic(
                rows[:, generator.integers(total, size=(min(at_once, resamples - start), total))]
            )
            for start in range(0, resamples, at_once)
        ]
    )
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (math.nan, math.nan)
    return Estimate(float(statistic(rows[:, None])[0]), float(low), float(high), total)
