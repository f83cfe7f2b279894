"""Guidance that pulls towards the motion of a MotionLoRA as it pulls towards the prompt."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.guidance import classifier_free
from animatediff.sampling.around.motion_guidance import DECIDED, guided_to_motion
from animatediff.sampling.around.while_noisy import while_noisy
from animatediff.sampling.ask import WITH_PROMPT, WITHOUT_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights

pytestmark = pytest.mark.usefixtures("latents_only")


@pytest.fixture(scope="module")
def pattern(
    tmp_path_factory: pytest.TempPathFactory, new_motion: Callable[..., AnimatedUNet]
) -> Path:
    """A MotionLoRA that changes much, and whose file says nothing of guidance."""
    torch.manual_seed(3)
    branches = attach_motion_lora(new_motion(), rank=2)
    for weights in branches.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    path = tmp_path_factory.mktemp("pattern") / "pattern.safetensors"
    return write_weights(path, branches.state_dict(), metadata={})


@pytest.fixture
def saying(pattern: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The same MotionLoRA in a file that says how strongly guidance pulls towards it."""

    def write(motion_guidance: str) -> Path:
        path = tmp_path / "saying.safetensors"
        told = {"motion_guidance": motion_guidance}
        return write_weights(path, load_file(pattern), metadata=told)

    return write


@pytest.fixture(scope="module")
def moved(tiny_world: Path, tiny_motion: Path, pattern: Path) -> Animator:
    return Animator.load(str(tiny_world), motion=str(tiny_motion), motion_loras=(f"{pattern}:0.8",))


@pytest.fixture
def asked(request_of: AnimationRequest, pattern: Path) -> AnimationRequest:
    # After one step of UniPC, latents are linear in the noise that was predicted.
    return replace(
        request_of, motion_loras=(f"{pattern}:0.8",), steps=1, scheduler="unipc", guidance=3.0
    )


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_the_clip_without_the_prompt_has_less_of_the_motion(
    share: float, moved: Animator, asked: AnimationRequest, pattern: Path
) -> None:
    def latents(**changes: object) -> Tensor:
        return moved.animate(replace(asked, **changes)).latents  # pyright: ignore[reportArgumentType]

    left = (f"{pattern}:{0.8 * (1 - share)!r}",)
    without = latents(guidance=0.0, motion_loras=left)
    along = latents(guidance=1.0)
    expected = without + 3.0 * (along - without)
    # One step from noise alone divides by a small signal, so latents are large.
    large = expected.abs().max()
    assert (latents(motion_guidance=share) - expected).abs().max() < 1e-4 * large
    plain = latents(motion_guidance=0.0)
    assert (plain - expected).abs().max() > 1e-2 * large
    assert torch.equal(latents(), plain)


def test_it_leaves_no_trace(moved: Animator, asked: AnimationRequest) -> None:
    before = moved.animate(asked).latents
    first = moved.animate(replace(asked, motion_guidance=1.0)).latents
    assert torch.equal(moved.animate(asked).latents, before)
    assert torch.equal(moved.animate(replace(asked, motion_guidance=1.0)).latents, first)


def test_nobody_asked_it_is_as_the_file_says(
    tiny_world: Path,
    tiny_motion: Path,
    moved: Animator,
    asked: AnimationRequest,
    saying: Callable[[str], Path],
) -> None:
    name = f"{saying('0.5')}:0.8"
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion), motion_loras=(name,))
    told = replace(asked, motion_loras=(name,))
    drawn = animator.animate(told).latents
    assert torch.equal(drawn, moved.animate(replace(asked, motion_guidance=0.5)).latents)
    none = animator.animate(replace(told, motion_guidance=0.0)).latents
    assert torch.equal(none, moved.animate(asked).latents)
    # At a guidance of 1 there is nothing that could pull, which is no mistake of whoever draws.
    alone = replace(told, guidance=1.0)
    assert torch.equal(
        animator.animate(alone).latents, moved.animate(replace(asked, guidance=1.0)).latents
    )


@pytest.mark.parametrize("told", ["much", "nan", "-0.5", "1.5", ""])
def test_a_file_that_says_what_cannot_be_is_refused(
    told: str, tiny_world: Path, tiny_motion: Path, saying: Callable[[str], Path]
) -> None:
    with pytest.raises(FileError, match=r"says motion_guidance = .*a number from 0 to 1\."):
        Animator.load(str(tiny_world), motion=str(tiny_motion), motion_loras=(f"{saying(told)}:1",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"motion_guidance": 1.5}, "motion_guidance = 1.5 is out of range; choose 0 to 1"),
        ({"motion_guidance": float("nan")}, "motion_guidance = nan is not a finite number"),
        ({"motion_guidance": 0.5, "guidance": 1.0}, "With a guidance of 1 nothing pulls"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    changes: dict[str, float], sentence: str, asked: AnimationRequest
) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(asked, **changes).validated()


def test_it_pulls_only_while_layouts_are_decided() -> None:
    lasts: list[str] = []

    @contextmanager
    def unmoved(ask: Ask) -> Generator[None]:
        lasts.append("less")
        yield
        lasts.append("all")

    def predict_noise(ask: Ask) -> Tensor:
        moved = {WITHOUT_PROMPT.start: "less", WITH_PROMPT.start: "all"}
        assert lasts[-1] == moved[ask.rows.start]
        return ask.latents + (1 if ask.rows == WITHOUT_PROMPT else 3)

    noisy = partial(guided_to_motion, guidance=classifier_free(2.5), unmoved=unmoved)
    predict = while_noisy(noisy, least=DECIDED, then=lambda inner: lambda ask: ask.latents)(
        predict_noise
    )

    def at(timestep: float, step: int) -> float:
        start, frames = torch.zeros(1, 1, 1, 1, 1), torch.arange(1)
        return predict(Ask(start, torch.tensor(timestep), step, WITH_PROMPT, frames)).item()

    assert at(999.0, 0) == 1 + 2.5 * 2
    assert at(DECIDED, 4) == 1 + 2.5 * 2
    assert at(DECIDED - 1, 5) == 0
