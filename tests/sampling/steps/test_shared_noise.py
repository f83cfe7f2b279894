"""Noise that frames have in common: from the training option to the file and the first latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from animatediff.errors import FileError
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.weights.motion import read_motion
from animatediff.weights.storage.files import read_header, read_weights, write_weights

pytestmark = pytest.mark.usefixtures("latents_only")


def drawn(share: float, *, num_frames: int = 3, number: int = 0) -> torch.Tensor:
    return initial_noise(
        5, num_frames=num_frames, channels=4, height=64, width=64, number=number, share=share
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_frames_stay_unit_gaussian_and_correlate_by_the_share(share: float) -> None:
    frames = drawn(share)[0].transpose(0, 1).flatten(1)
    assert torch.allclose(torch.cov(frames).diagonal(), torch.ones(3), atol=0.05)
    between = torch.corrcoef(frames)[~torch.eye(3, dtype=torch.bool)]
    assert torch.allclose(between, torch.full((6,), share), atol=0.03)


def test_a_frame_keeps_its_noise_whatever_the_number_of_frames() -> None:
    assert torch.equal(drawn(0.5, num_frames=2), drawn(0.5, num_frames=8)[:, :, :2])


def test_what_frames_share_is_the_noise_of_the_still() -> None:
    assert torch.equal(drawn(1.0)[:, :, 1], drawn(0.0)[:, :, 0])
    assert not torch.equal(drawn(1.0), drawn(1.0, number=1))


def said(path: Path, motion: Path, share: str) -> Path:
    header = read_header(motion)
    return write_weights(
        path, read_weights(header), metadata={**header.metadata, "shared_noise": share}
    )


def test_animations_begin_with_the_noise_that_the_file_says(
    tiny_world: Path, tiny_motion: Path, request_of: AnimationRequest, tmp_path: Path
) -> None:
    def begun(motion: Path) -> torch.Tensor:
        made = Animator.load(str(tiny_world), motion=str(motion))
        return made.animate(request_of, motion=str(motion)).latents

    plain = begun(tiny_motion)
    none = said(tmp_path / "none.safetensors", tiny_motion, "0")
    half = said(tmp_path / "half.safetensors", tiny_motion, "0.5")
    assert torch.equal(begun(none), plain)
    assert not torch.equal(begun(half), plain)
    assert read_motion(half).family.shared_noise == 0.5


@pytest.mark.parametrize("share", ["much", "-0.1", "1.5", "nan"])
def test_a_share_that_is_none_is_refused(tiny_motion: Path, tmp_path: Path, share: str) -> None:
    path = said(tmp_path / "motion.safetensors", tiny_motion, share)
    with pytest.raises(FileError, match="shared_noise"):
        read_motion(path)
