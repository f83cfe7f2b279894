"""Context windows: every schedule covers every frame, and the standard ones are ComfyUI's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from animatediff.sampling.windows.plan import (
    WINDOW_SCHEDULES,
    Window,
    WindowPlan,
    van_der_corput,
)
from animatediff.sampling.windows.weights import WINDOW_WEIGHTS, pyramid, ramps


@given(
    num_frames=st.integers(1, 300),
    length=st.integers(2, 40),
    overlap=st.integers(0, 39),
    schedule=st.sampled_from(WINDOW_SCHEDULES),
    stride=st.integers(1, 4),
    weights=st.sampled_from(WINDOW_WEIGHTS),
    step=st.integers(0, 60),
)
def test_windows_cover_every_frame(
    num_frames, length, overlap, schedule, stride, weights, step
) -> None:
    overlap = min(overlap, length - 1)
    plan = WindowPlan(num_frames, length, overlap, schedule, stride, weights)
    windows = plan.at(step)
    size = min(length, num_frames)
    assert {frame for window in windows for frame in window.frames} == set(range(num_frames))
    for window in windows:
        assert len(window.frames) == len(set(window.frames)) == len(window.weights) == size
        assert all(weight > 0 for weight in window.weights)
    assert len({window.frames for window in windows}) == len(windows)


def test_a_frame_that_every_window_lost_gets_one() -> None:
    """Both windows go around the end and hold frame 0, and neither does when they are moved back."""
    found = [window.frames for window in WindowPlan(6, 5, 0, "uniform").at(1)]
    assert found == [(1, 2, 3, 4, 5), (0, 1, 2, 3, 4)]


@given(num_frames=st.integers(1, 300), length=st.integers(2, 40), overlap=st.integers(0, 39))
def test_static_windows_stand_still_and_overlap_enough(num_frames, length, overlap) -> None:
    overlap = min(overlap, length - 1)
    plan = WindowPlan(num_frames, length, overlap)
    starts = [window.frames[0] for window in plan.at(0)]
    assert plan.at(0) == plan.at(7)
    assert starts == sorted(starts)
    assert all(later - earlier <= length - overlap for earlier, later in pairwise(starts))


@given(num_frames=st.integers(17, 120), step=st.integers(0, 40))
def test_uniform_windows_never_go_around_the_end(num_frames, step) -> None:
    for window in WindowPlan(num_frames, 16, 4, "uniform", 3).at(step):
        assert list(window.frames) == sorted(window.frames)


def test_the_last_static_window_is_moved_back_to_end_with_the_clip() -> None:
    windows = WindowPlan(48, length=16, overlap=4).at(0)
    assert [window.frames[0] for window in windows] == [0, 12, 24, 32]
    assert windows[-1].frames[-1] == 47
    assert WindowPlan(16, 16, 4).at(0) == (Window(tuple(range(16)), pyramid(16)),)
    assert len(WindowPlan(28, 16, 4).at(0)) == 2


# Worked out by hand from the published description: (frames, step, schedule, stride) and, for each
# window, its first frame, its last frame and the gap between its frames.
BY_HAND = [
    # Step 0 has no shift: 0 and 12 begin before 24 - 4 = 20 or 24; the second window of the open
    # schedule goes around the end and is moved back to 8..23.
    ((24, 0, "looped", 1), [(0, 15, 1), (12, 3, 1)]),
    ((24, 0, "uniform", 1), [(0, 15, 1), (8, 23, 1)]),
    # Step 1 shifts by half, 12: windows begin at 12 and 24, which is 0.
    ((24, 1, "looped", 1), [(12, 3, 1), (0, 15, 1)]),
    ((24, 1, "uniform", 1), [(8, 23, 1), (0, 15, 1)]),
    # Step 2 shifts by a quarter, 6: 6 and 18. The second goes around at frame 0, is moved back, and
    # as the next window (6..21) has no frame 0, one from 0 on is put in.
    ((24, 2, "looped", 1), [(6, 21, 1), (18, 9, 1)]),
    ((24, 2, "uniform", 1), [(6, 21, 1), (8, 23, 1), (0, 15, 1)]),
    # With a stride of 2, frames 2 apart are seen too: 32 frames at once, from 0 and from 28.
    (
        (32, 0, "looped", 2),
        [(0, 15, 1), (12, 27, 1), (24, 7, 1), (0, 30, 2), (28, 26, 2)],
    ),
]


@pytest.mark.parametrize(("case", "expected"), BY_HAND, ids=lambda value: str(value)[:24])
def test_the_standard_schedules_equal_a_table_worked_out_by_hand(case, expected) -> None:
    num_frames, step, schedule, stride = case
    plan = WindowPlan(num_frames, 16, 4, schedule, stride)
    found = [
        (w.frames[0], w.frames[-1], (w.frames[1] - w.frames[0]) % num_frames) for w in plan.at(step)
    ]
    assert found == expected


def test_shifts_fall_into_the_middle_of_the_largest_gap() -> None:
    assert [van_der_corput(n) for n in range(8)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]


def test_weights_are_what_they_are_called() -> None:
    assert pyramid(6) == (1, 2, 3, 3, 2, 1)
    assert pyramid(5) == (1, 2, 3, 2, 1)
    flat = WindowPlan(24, 16, 4, weights="flat").at(0)
    assert {weight for window in flat for weight in window.weights} == {1.0}
    inside = ramps(range(4, 12), overlap=3, num_frames=20)
    assert inside == pytest.approx((1e-3, 0.5, 1, 1, 1, 1, 0.5, 1e-3))
    first = ramps(range(8), overlap=3, num_frames=20)
    assert first == pytest.approx((1, 1, 1, 1, 1, 1, 0.5, 1e-3))
