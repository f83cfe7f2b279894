"""The plan of the built-in world, from clips of coloured squares."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from tests.world.protocol.test_protocol import clip

from animatediff.evaluation.table1.drawing import driving_video
from animatediff.evaluation.table1.plan import Settings
from animatediff.world.protocol.motion import real_frames
from animatediff.world.protocol.table1 import world_plan

CLIPS = [clip(number) for number in range(9)]


def test_three_models_say_the_same_things_in_the_held_out_style(tmp_path: Path):
    plan = world_plan(CLIPS, folder=tmp_path, prompts=6, num_clips=3).validated()
    assert [model.name for model in plan.models] == ["Noto LoRA", "Noto fine-tune", "<noto>"]
    lora, tuned, word = plan.models
    assert lora.prompts == tuned.prompts
    assert len(lora.prompts) == 6
    assert all(prompt.endswith(", noto style") for prompt in lora.prompts)
    assert [p.replace("<noto>", "noto") for p in word.prompts] == list(lora.prompts)
    # No prompt describes its own driving clip.
    captions = {driving.caption.split(",")[0] for driving in plan.clips}
    assert len(captions) == 3
    assert captions.isdisjoint(prompt.split(",")[0] for prompt in lora.prompts)


def test_a_second_held_out_style_is_added_if_there_is_one(tmp_path: Path):
    lora = tmp_path / "high-contrast.safetensors"
    plan = world_plan(CLIPS, folder=tmp_path, more=lora, prompts=2, num_clips=1)
    assert plan.models[-1].loras == (f"{lora}:1",)
    assert plan.models[-1].prompts[0].endswith(", high contrast style")


def test_driving_clips_are_the_real_frames(tmp_path: Path):
    settings = Settings(num_frames=5)
    plan = world_plan(CLIPS, folder=tmp_path, settings=settings, prompts=8, num_clips=1)
    label = plan.clips[0].caption.split(",")[0]
    source = next(c for c in CLIPS if c.meta["label"] == label)
    video = driving_video(plan.clips[0], settings=settings, side=128)
    assert np.array_equal(video.frames, real_frames(source, count=5))
    assert video.fps == 8
