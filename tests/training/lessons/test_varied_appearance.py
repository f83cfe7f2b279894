"""One clip in many looks: colours and shapes change from window to window, what happens does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.options import changed

from animatediff.errors import InputError
from animatediff.runtime import seeded
from animatediff.training.lessons.moving_camera import now_and_then_filmed
from animatediff.training.lessons.varied_appearance import bent, recoloured, varied_appearance
from animatediff.training.recipe import Recipe
from animatediff.training.stages.stage_options import StageOptions
from animatediff.weights.storage.files import read_header
from animatediff.world.art.clips import WorldClips
from animatediff.world.stages.table import STAGES

SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]

SIZE, FRAMES, DRAWS = 32, 10, 24


@pytest.fixture(scope="module")
def clips() -> WorldClips:
    """A red square on white that goes down, and from its last frame up to the first."""
    frames = np.full((FRAMES, SIZE, SIZE, 3), 255, np.uint8)
    for time in range(FRAMES):
        frames[time, 6 + time : 18 + time, 10:22] = (230, 40, 20)
    meta = {"label": "square", "tags": [], "style_phrase": "flat style", "motion": "falling"}
    return WorldClips((frames,), (meta,), SIZE, None, 0.35, None)


def ink_of(frames: np.ndarray) -> np.ndarray:
    return 255.0 - frames.astype(np.float64).mean(axis=-1)


def test_every_window_begins_with_the_clip_and_goes_as_it_goes(clips: WorldClips) -> None:
    varied = varied_appearance(clips, stills=False)
    for draw in range(DRAWS):
        ink = ink_of(varied.footage(0, num_frames=6, generator=seeded("look", draw)).frames)
        rows = np.arange(SIZE)[:, None]
        centre = (ink * rows).sum((1, 2)) / ink.sum((1, 2))
        assert (np.diff(centre) > 0.3).all()


def test_looks_differ_from_window_to_window_and_a_draw_is_always_the_same(
    clips: WorldClips,
) -> None:
    varied = varied_appearance(clips, stills=False)
    seen = [varied.footage(0, num_frames=2, generator=seeded(draw)) for draw in range(DRAWS)]
    again = varied.footage(0, num_frames=2, generator=seeded(3))
    assert np.array_equal(seen[3].frames, again.frames)
    colours = np.array([window.frames[0].reshape(-1, 3).min(axis=0) for window in seen])
    assert (colours.min(axis=0) < 100).all()
    assert (colours.max(axis=0) > 150).all()
    shapes = [ink_of(window.frames[0]) > 30 for window in seen]
    widths, heights = ([shape.any(axis=axis).sum() for shape in shapes] for axis in (0, 1))
    assert min(widths) < 10 < 13 < max(widths)
    assert min(heights) < 10 < 13 < max(heights)


def test_all_frames_look_alike(clips: WorldClips) -> None:
    still = torch.tensor(clips.clips[0][:1]).permute(0, 3, 1, 2).float().repeat(4, 1, 1, 1)
    looks = bent(recoloured(still, seeded(1)), seeded(2))
    assert torch.equal(looks, looks[:1].expand_as(looks))
    assert not torch.equal(looks, still)
    white = torch.full((2, 3, 8, 8), 255.0)
    assert torch.equal(recoloured(white, seeded(1)), white)
    assert torch.allclose(bent(white, seeded(2)), white)


def test_stills_are_any_frame(clips: WorldClips) -> None:
    looks = varied_appearance(clips, stills=True)
    assert not looks.clips.from_start
    tops: set[int] = set()
    for draw in range(DRAWS):
        frame = looks.clips.footage(0, num_frames=1, generator=seeded(draw)).frames[0]
        tops.add(int((ink_of(frame) > 30).any(axis=1).argmax()))
    assert len(tops) > FRAMES // 2


def test_varied_clips_are_other_data(clips: WorldClips) -> None:
    varied = varied_appearance(clips, stills=False)
    prints = {
        clips.fingerprint(),
        varied.fingerprint(),
        varied_appearance(clips, stills=True).fingerprint(),
    }
    assert len(prints) == 3
    assert len(varied) == 1


def test_what_has_no_pixels_is_refused(clips: WorldClips) -> None:
    with pytest.raises(
        InputError, match=r"--vary-appearance .* the clips that these were built from"
    ):
        varied_appearance(now_and_then_filmed(clips, 0.5), stills=False)


@pytest.mark.parametrize("stage", ["domain-adapter", "motion-lora"])
def test_stages_that_part_motion_from_looks_learn_so(
    stage: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of(stage, tmp_path), vary_appearance=True, clips=1)
    prepared = STAGES[stage].prepare(setup, options_of(stage), torch.device("cpu"))
    lesson = prepared.lesson
    looks = [lesson.fetch(torch.zeros(1, dtype=torch.int64), seeded(k)).frames for k in (1, 2)]
    assert not torch.equal(*looks)
    plain = STAGES[stage].prepare(
        changed(setup, vary_appearance=False), options_of(stage), torch.device("cpu")
    )
    assert plain.facts["data"] != prepared.facts["data"]


@pytest.mark.parametrize("stage", ["motion", "personalise-lora"])
def test_others_refuse_it(stage: str, setup_of: SetupOf, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not take --vary-appearance"):
        changed(setup_of(stage, tmp_path), vary_appearance=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"vary_appearance": True, "clips": 1, "first_clip": 2}, "2"),
        ({"vary_appearance": True, "clips": 2}, None),
        ({"clips": 1}, None),
        ({"vary_appearance": True, "clips": 1, "pattern": "zoom-in"}, None),
    ],
)
def test_the_file_tells_which_one_clip_of_the_world_it_learned_from(
    asked: dict[str, object],
    told: str | None,
    small_setup_of: SetupOf,
    options_of: OptionsOf,
    tmp_path: Path,
) -> None:
    setup = changed(small_setup_of("motion-lora", tmp_path / "work"), **asked)
    prepared = STAGES["motion-lora"].prepare(setup, options_of("motion-lora"), torch.device("cpu"))
    path = prepared.save(prepared.lesson.learns.state_dict())
    assert read_header(path).metadata.get("clip") == told
