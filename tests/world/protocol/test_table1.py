"""The plan of the built-in world, from clips of coloured squares."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from tests.world.protocol.test_protocol import clip

from animatediff.errors import InputError
from animatediff.evaluation.table1.drawing import driving_video
from animatediff.evaluation.table1.plan import Settings
from animatediff.world.protocol.motion import real_frames
from animatediff.world.protocol.table1 import world_plan

CLIPS = [clip(number) for number in range(9)]


def test_three_models_say_the_same_things_in_the_held_out_style(tmp_path: Path):
    plan = world_plan(CLIPS, folder=tmp_path, prompts=6, num_clips=2).validated()
    assert [model.name for model in plan.models] == ["Noto LoRA", "Noto fine-tune", "<noto>"]
    lora, tuned, word = plan.models
    assert lora.prompts == tuned.prompts
    assert len(lora.prompts) == 6
    assert all(prompt.endswith(", noto style") for prompt in lora.prompts)
    assert [p.replace("<noto>", "noto") for p in word.prompts] == list(lora.prompts)
    # No prompt describes its own driving clip.
    captions = {driving.caption.split(",")[0] for driving in plan.clips}
    assert len(captions) == 2
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


def test_a_short_run_is_the_beginning_of_a_long_one(tmp_path: Path):
    clips = [clip(number) for number in range(12)]
    long = world_plan(clips, folder=tmp_path, prompts=9, num_clips=3).validated()
    whole = list(long.items())
    for prompts, num_clips, used in ((3, 1, 1), (5, 3, 2), (6, 2, 2), (8, 9, 3)):
        short = world_plan(clips, folder=tmp_path, prompts=prompts, num_clips=num_clips).validated()
        assert short.clips == long.clips[:used]
        assert list(short.items()) == [item for item in whole if item.index < prompts]
    # Fewer driving clips than every three prompts would take: from the first one on again.
    again = world_plan(clips, folder=tmp_path, prompts=9, num_clips=2)
    assert [item.clip for item in again.items()][:9] == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_prompts_and_driving_clips_are_drawn_from_the_whole_world(tmp_path: Path):
    clips = [clip(number) for number in range(12)]
    seeds = [
        world_plan(clips, folder=tmp_path, prompts=3, num_clips=1, settings=Settings(seed=seed))
        for seed in range(8)
    ]
    numbers = [int(plan.clips[0].caption.split(",")[0].split()[1]) for plan in seeds]
    # Not always those with the highest code point.
    assert min(numbers) < 6
    assert len(set(numbers)) > 2


def test_what_leaves_nothing_to_compare_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="0 prompts and 10 driving clips leave nothing"):
        world_plan(CLIPS, folder=tmp_path, prompts=0)
    with pytest.raises(InputError, match="has 9 clips, too few for 9 prompts and a driving clip"):
        world_plan(CLIPS, folder=tmp_path, prompts=9)
