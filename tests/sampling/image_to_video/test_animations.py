"""A picture that is animated, by each way: frame 0, what was taken, and what is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.errors import FileError, InputError
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "heart.png"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def asked(request_of: AnimationRequest, picture: Path) -> AnimationRequest:
    return replace(request_of, image=str(picture), steps=6)


def test_with_any_model_the_picture_is_blended_in_and_frame_0_is_held(
    animator: Animator, asked: AnimationRequest
) -> None:
    held = animator.animate(asked)
    free = animator.animate(replace(asked, image_pinned=False))
    bare = animator.animate(replace(asked, image=""))
    (note,) = [n for n in held.report.notes if "dB (PSNR)" in n]
    assert note.startswith("The picture was animated by blended latents.")
    # What a picture becomes by itself, through the autoencoder: frame 0 is that.
    still = animator.animate(replace(asked, strength=0.0, image_scale=1000.0))
    assert np.array_equal(held.video.frames[0], still.video.frames[0])
    assert not np.array_equal(free.video.frames[0], still.video.frames[0])
    assert not torch.equal(held.latents[:, :, 1:], bare.latents[:, :, 1:])
    # Nothing stays in the model.
    assert torch.equal(animator.animate(replace(asked, image="")).latents, bare.latents)


def test_frames_fade_with_scale_and_power_and_windows_go_with_it(
    animator: Animator, asked: AnimationRequest
) -> None:
    one = animator.animate(replace(asked, strength=0.2))
    near = animator.animate(replace(asked, strength=0.2, image_scale=1000.0))
    far = animator.animate(replace(asked, strength=0.2, image_scale=1.0))
    picture = animator.animate(replace(asked, strength=0.0, image_scale=1000.0)).latents[:, :, :1]
    distances = [(each.latents[:, :, -1:] - picture).abs().mean() for each in (near, one, far)]
    assert distances == sorted(distances)
    windows = replace(asked, num_frames=6, window_length=3, window_overlap=1, prompts={"0": "fox"})
    assert torch.equal(animator.animate(windows).latents, animator.animate(windows).latents)


def test_what_a_file_says_brings_the_picture_back_or_names_it(
    animator: Animator, asked: AnimationRequest, tmp_path: Path, picture: Path
) -> None:
    own = tmp_path / "mine.png"
    own.write_bytes(picture.read_bytes())
    animation = animator.animate(replace(asked, image=str(own)))
    assert "image" in animation.report.sha256s
    path = animation.save(tmp_path / "x.gif")
    assert torch.equal(animator.animate(load_request(path)).latents, animation.latents)
    own.unlink()
    with pytest.raises(FileError, match=r"mine\.png is missing"):
        load_request(path)


def test_a_way_that_is_not_loaded_and_rounds_from_noise_are_refused(
    animator: Animator, asked: AnimationRequest
) -> None:
    with pytest.raises(InputError, match="needs PIA's motion module"):
        animator.animate(replace(asked, image_way="pia"))
    with pytest.raises(InputError, match="FreeInit begins every round from noise"):
        animator.animate(replace(asked, free_init=2))


def test_the_size_follows_the_picture(
    animator: Animator, asked: AnimationRequest, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 16), (200, 10, 10)).save(tmp_path / "wide.png")
    size = animator.resolved(replace(asked, image=str(tmp_path / "wide.png")))
    assert size.width is not None
    assert size.height is not None
    assert size.width > size.height
