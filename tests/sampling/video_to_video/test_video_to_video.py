"""Video to video: from the video itself at strength 0 to text to video at strength 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.video.sound_files import packets, write_with_sound
from torch import Tensor

from animatediff.errors import FileError, InputError
from animatediff.sampling.animator import Animator, Progress, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.video_to_video.source import Source
from animatediff.video import Video
from animatediff.video.containers import Frames
from animatediff.video.sound import sound_codec

FRAMES = 3
SCHEDULERS = ("ddim", "heun", "lms-karras", "dpm++3m-sde-karras")
"""One of each kind: plain, of two evaluations, with a memory, with noise. ``steps/test_schedulers.py``
asks every sampler where it begins and which steps it takes."""


@pytest.fixture(scope="session")
def frames() -> Frames:
    """Squares of 32 pixels, all different."""
    coarse = np.random.default_rng(0).integers(0, 256, (FRAMES, 4, 4, 3), np.uint8)
    return coarse.repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory, frames: Frames) -> Path:
    """The frames, lossless, at 12 a second."""
    return Video(frames, Fraction(12)).save(tmp_path_factory.mktemp("init") / "init.apng")


@pytest.fixture
def plain(request_of: AnimationRequest) -> AnimationRequest:
    return replace(request_of, num_frames=None, steps=4)


@pytest.fixture(scope="module")
def texts() -> dict[str, Tensor]:
    """Latents of text to video by sampler, each drawn once."""
    return {}


@pytest.fixture
def text_of(
    animator: Animator, plain: AnimationRequest, texts: dict[str, Tensor]
) -> Callable[[str], Tensor]:
    """Latents of text to video with a sampler."""

    def draw(scheduler: Any) -> Tensor:
        if scheduler not in texts:
            made = animator.animate(plain, num_frames=FRAMES, scheduler=scheduler)
            texts[scheduler] = made.latents
        return texts[scheduler]

    return draw


def test_strength_0_gives_the_video_back_within_the_autoencoder(
    animator: Animator, plain: AnimationRequest, video: Path, frames: Frames
) -> None:
    made = animator.animate(plain, init=str(video), strength=0.0)
    vae = animator.base.vae
    latents = encoded(frames, vae=vae, device=torch.device("cpu"))
    assert torch.equal(made.latents, latents)
    assert np.array_equal(made.frames, decode(latents, vae=vae))


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_strength_1_is_text_to_video_bit_for_bit(
    animator: Animator,
    plain: AnimationRequest,
    video: Path,
    text_of: Callable[[str], Tensor],
    scheduler: Any,
) -> None:
    made = animator.animate(plain, init=video, strength=1.0, scheduler=scheduler)
    assert torch.equal(made.latents, text_of(scheduler))


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_in_between_some_of_the_steps_are_taken(
    animator: Animator,
    plain: AnimationRequest,
    video: Path,
    text_of: Callable[[str], Tensor],
    scheduler: Any,
) -> None:
    told: list[Progress] = []
    made = animator.animate(
        plain, init=video, strength=0.5, scheduler=scheduler, on_step=told.append
    )
    steps = [(one.step, one.steps) for one in told if one.stage == "denoise"]
    assert steps == [(1, 2), (2, 2)]
    other = animator.animate(plain, init=video, start_step=2, scheduler=scheduler)
    assert torch.equal(made.latents, other.latents)
    assert not torch.equal(made.latents, text_of(scheduler))


def test_frames_rate_and_shape_are_those_of_the_video(
    animator: Animator, plain: AnimationRequest, tmp_path: Path
) -> None:
    wide = np.zeros((4, 36, 72, 3), np.uint8)
    path = Video(wide, Fraction(24000, 1001)).save(tmp_path / "wide.mp4")
    made = animator.animate(plain, init=path, strength=0.0)
    assert made.video.frames.shape[0] == 4
    assert made.video.fps == Fraction(24000, 1001)
    assert (made.request.width, made.request.height) == (48, 24)
    given = animator.animate(plain, init=path, strength=0.0, num_frames=2, width=32, height=32)
    assert given.video.frames.shape == (2, 32, 32, 3)
    again = animator.resolved(made.request)
    assert again == made.request


def test_at_another_rate_each_frame_is_the_one_shown_at_its_time(frames: Frames) -> None:
    numbered = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    source = Source.of(numbered)
    source = replace(source, material=replace(source.material, fps=Fraction(12)))
    assert source.count(Fraction(8)) == 8
    size = {"width": 8, "height": 8, "fit": "crop"}
    slower = source.laid_out(num_frames=8, fps=Fraction(8), **size)
    assert slower[:, 0, 0, 0].tolist() == [0, 1, 3, 4, 6, 7, 9, 10]
    faster = source.laid_out(num_frames=24, fps=Fraction(24), **size)
    assert faster[:, 0, 0, 0].tolist() == [frame // 2 for frame in range(24)]
    with pytest.raises(InputError, match="has 12 frames at 12 a second, and 13 were asked for"):
        source.laid_out(num_frames=13, fps=Fraction(12), **size)


def test_frames_of_a_program_are_as_good_as_a_file(
    animator: Animator, plain: AnimationRequest, video: Path, frames: Frames
) -> None:
    of_file = animator.animate(plain, init=video, strength=0.5)
    unit = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    for given in (frames, unit, [Image.fromarray(frame) for frame in frames]):
        made = animator.animate(plain, init=given, strength=0.5)
        assert torch.equal(made.latents, of_file.latents)
        assert made.video.fps == 8


def test_the_sound_of_the_video_is_kept_unless_it_is_played_backwards(
    animator: Animator, plain: AnimationRequest, tmp_path: Path
) -> None:
    video = write_with_sound(tmp_path / "tone.mp4", codec="aac")
    made = animator.animate(plain, init=video, strength=0.0)
    assert len(made.frames) == 10
    path = made.save(tmp_path / "made.mp4")
    assert [data for _, data in packets(path)] == [d for t, d in packets(video) if t < 1]
    assert load_request(path) == made.request
    for silent in ({"sound": False}, {"pingpong": True}):
        other = animator.animate(replace(plain, init=str(video), strength=0.0, **silent))
        assert sound_codec(other.save(tmp_path / "silent.mp4")) is None


def test_a_picture_is_begun_from_in_every_frame(
    animator: Animator, plain: AnimationRequest, frames: Frames
) -> None:
    made = animator.animate(plain, init=frames[:1], strength=0.0, num_frames=4)
    assert len(made.frames) == 4
    assert (made.frames == made.frames[:1]).all()


@pytest.mark.usefixtures("latents_only")
def test_inverted_noise_leads_back_to_the_video(
    animator: Animator, plain: AnimationRequest, video: Path, frames: Frames
) -> None:
    """The same prompt, without guidance: only the error of the steps is left."""
    latents = encoded(frames, vae=animator.base.vae, device=animator.base.device)
    asked = replace(plain, guidance=1.0, init=str(video), steps=10, scheduler="ddim")
    errors = {}
    for strength in (1.0, 0.5):
        for invert in (True, False):
            made = animator.animate(
                asked,
                strength=strength,
                invert=invert,
                init_prompt=asked.prompt if invert else "",
            )
            errors[strength, invert] = float((made.latents - latents).square().mean().sqrt())
    assert errors[1.0, True] < 0.3 * errors[1.0, False]
    assert errors[0.5, True] < 0.3 * errors[0.5, False]


def test_a_file_that_began_from_a_video_is_made_again_from_the_same_video_only(
    animator: Animator, plain: AnimationRequest, frames: Frames, tmp_path: Path
) -> None:
    video = Video(frames, Fraction(12)).save(tmp_path / "init.apng")
    made = animator.animate(plain, init=video, strength=0.5)
    path = made.save(tmp_path / "made.apng")
    stored = load_request(path)
    assert stored == made.request
    assert torch.equal(animator.animate(stored).latents, made.latents)
    Video(frames[::-1], Fraction(12)).save(video)
    with pytest.raises(FileError, match=r"another version of .*init"):
        load_request(path)
    video.unlink()
    with pytest.raises(FileError, match="not all here"):
        load_request(path)
    path = animator.animate(plain, init=frames, strength=0.5).save(tmp_path / "given.apng")
    with pytest.raises(FileError, match="began from frames that a Python program gave"):
        load_request(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"strength": 0.5}, "--strength needs a video to begin from"),
        ({"invert": True}, "--invert needs a video"),
        ({"init": "x.mp4", "strength": 1.5}, "strength = 1.5 is out of range"),
        ({"init": "x.mp4", "strength": 0.5, "start_step": 1}, "give one of them"),
        ({"init": "x.mp4", "init_prompt": "a fox"}, "add --invert"),
        ({"init": "x.mp4", "start_step": 5}, "after the last of 4 steps"),
        ({"init": "x.mp4", "free_init": 2}, "FreeInit"),
    ],
)
def test_contradictions_are_refused(
    plain: AnimationRequest, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(plain, **changes).validated()


def test_what_cannot_be_begun_from_is_named(
    animator: Animator, plain: AnimationRequest, video: Path, frames: Frames
) -> None:
    with pytest.raises(InputError, match="has 3 frames at 12 a second, and 4 were asked for"):
        animator.animate(plain, init=video, num_frames=4)
    with pytest.raises(InputError, match="LCM draws fresh noise"):
        animator.animate(plain, init=video, invert=True, scheduler="lcm")
    with pytest.raises(InputError, match="is not a video; give uint8"):
        animator.animate(plain, init=frames.astype(np.float64))
    with pytest.raises(FileError, match=r"nowhere\.mp4"):
        Animator.for_request(replace(plain, init="nowhere.mp4"))
