"""Actions are told from frames: drawn squares that act pass their own measures and not the others'."""

from __future__ import annotations

import numpy as np
import pytest
from tests.world.protocol.test_protocol import COUNT, ColourScorer, asked, clip, square, still

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from PIL import Image

from animatediff.video.actions import Action, scaled
from animatediff.world.protocol.actions import (
    ASKED,
    MEASURES,
    judge_actions,
    outline_of,
    prompt_with,
    without_clips,
)
from animatediff.world.protocol.subjects import Subject

AMOUNTS = {"spin": 1.0, "grow": 0.6, "shrink": 0.6, "shake": 0.1, "nod": 0.4, "sway": 0.25}
CYCLES = {"shake": 4.0, "nod": 2.0, "spin": 1.0}


def acting(name: str) -> np.ndarray:
    """A textured square that acts."""
    texture = np.random.default_rng(3).integers(0, 200, (8, 8, 3)).astype(np.uint8)
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[40:88, 40:88] = texture.repeat(6, axis=0).repeat(6, axis=1)
    action = Action(name, AMOUNTS.get(name, 0.25), CYCLES.get(name, 1.0), 0.0)
    to_pixels = np.array([[64.0, 0, 64], [0, 64, 64], [0, 0, 1]])
    frames = []
    for matrix in action.transforms(16, foot=0.375):
        back = to_pixels @ np.linalg.inv(matrix @ scaled(1, 1)) @ np.linalg.inv(to_pixels)
        seen = Image.fromarray(picture).transform(
            (128, 128),
            Image.Transform.AFFINE,
            tuple(back[:2].ravel()),
            Image.Resampling.BILINEAR,
            fillcolor=(255, 255, 255),
        )
        frames.append(np.asarray(seen))
    return np.stack(frames)


@pytest.mark.parametrize("name", ASKED)
def test_each_action_passes_its_own_measure(name: str) -> None:
    assert MEASURES[name](outline_of(acting(name)))


def test_nothing_that_stands_still_passes_any_measure() -> None:
    frames = np.repeat(square(3, "flat")[None], 16, axis=0)
    outline = outline_of(frames)
    assert not any(measure(outline) for measure in MEASURES.values())


def test_an_empty_clip_passes_no_measure() -> None:
    outline = outline_of(np.full((16, 128, 128, 3), 255, np.uint8))
    assert not any(measure(outline) for measure in MEASURES.values())


def test_prompts_say_the_action_after_the_thing() -> None:
    subject = Subject("1", "frog", "flat", "frog, flat style", "train", 0)
    assert prompt_with(subject, "bounce") == "frog bouncing, flat style"


def test_only_training_concepts_without_clips_are_asked() -> None:
    stills = [still(i, style) for i in range(COUNT) for style in ("flat", "noto", "3d")]
    stills.append(still(COUNT, "flat", split="test"))
    subjects = without_clips(stills, [clip(i) for i in range(6)], count=40, seed=0)
    assert {s.hexcode for s in subjects} == {str(i) for i in range(6, COUNT)}
    assert {s.style for s in subjects} <= {"flat", "3d"}


def test_a_model_that_acts_passes_and_one_that_stands_still_does_not() -> None:
    subjects = [Subject.of(still(i, "flat"), seed=0) for i in range(10)]

    def picture(prompt: str, *, seed: int) -> np.ndarray:
        return square(*asked(prompt))[None]

    def moving(prompt: str, *, seed: int) -> np.ndarray:
        (name,) = (n for n in ASKED if f" {Action(n, 1, 1, 0).words[0]}," in prompt)
        return acting(name)

    good = judge_actions(
        picture, moving, subjects, scorer=ColourScorer(), by_rule=[("spin", acting("spin"))]
    )
    assert good.right.share == 1
    assert good.by_rule.share == 1
    assert good.others.value < 0.5
    still_standing = np.repeat(square(1, "flat")[None], 16, axis=0)
    held = judge_actions(
        picture, lambda prompt, *, seed: still_standing, subjects, scorer=ColourScorer()
    )
    assert held.right.share == 0
