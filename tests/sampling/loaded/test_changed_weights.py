"""Scales that change over the steps or over the frames, from a request to the latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.domain_adapter import attach_domain_adapter
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights

pytestmark = pytest.mark.usefixtures("latents_only")


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, new_motion: Callable[..., AnimatedUNet]
) -> dict[str, Path]:
    """A domain adapter and a MotionLoRA that change much."""
    folder = tmp_path_factory.mktemp("low-rank")
    torch.manual_seed(3)
    animated = new_motion()
    made = {
        "adapter": attach_domain_adapter(animated.unet, rank=2),
        "motion": attach_motion_lora(animated, rank=2),
    }
    for branches in made.values():
        for weights in branches.parameters():
            torch.nn.init.normal_(weights, std=0.3)
    return {
        name: write_weights(folder / f"{name}.safetensors", branches.state_dict(), metadata={})
        for name, branches in made.items()
    }


@pytest.fixture(scope="module")
def changed(tiny_world: Path, tiny_motion: Path, files: dict[str, Path]) -> Animator:
    return Animator.load(
        str(tiny_world),
        motion=str(tiny_motion),
        adapter=str(files["adapter"]),
        motion_loras=(str(files["motion"]),),
    )


@pytest.fixture
def draw(
    changed: Animator, request_of: AnimationRequest, files: dict[str, Path], tiny_lora: Path
) -> Callable[..., Tensor]:
    """Latents at scales of the adapter, the MotionLoRA and a LoRA."""

    def of(adapter: str = "0", motion: str = "0", lora: str = "0", **changes: object) -> Tensor:
        asked = replace(
            request_of,
            adapter=f"{files['adapter']}:{adapter}",
            motion_loras=(f"{files['motion']}:{motion}",),
            loras=(f"{tiny_lora}:{lora}",),
            **{"scheduler": "ddim", **changes},  # pyright: ignore[reportArgumentType]
        )
        return changed.animate(asked).latents

    return of


PARTS = ["adapter", "motion", "lora"]


@pytest.mark.parametrize(
    ("part", "over"),
    [
        *((part, "steps(0=0.7)") for part in PARTS),
        ("adapter", "frames(0=0.7)"),
        ("motion", "frames(0=0.7)"),
    ],
)
def test_a_scale_that_never_changes_is_the_number(
    draw: Callable[..., Tensor], part: str, over: str
) -> None:
    number = draw(**{part: "0.7"})
    exact = over.startswith("steps")
    assert torch.allclose(draw(**{part: over}), number, atol=0 if exact else 1e-4)
    assert not torch.allclose(number, draw(), atol=1e-2)


@pytest.mark.parametrize("part", PARTS)
def test_over_the_steps_each_has_its_own_weights(draw: Callable[..., Tensor], part: str) -> None:
    """A scale that is 1 at the last step only, from what the first steps at 0 made."""
    late = draw(**{part: "steps(0=0, 0.5=0, 1=1)"}, steps=3)
    never, always = draw(steps=3), draw(**{part: "1"}, steps=3)
    assert not torch.equal(late, never)
    assert (late - never).abs().mean() < (always - never).abs().mean()
    same = [draw(**{part: text}, steps=2) for text in ("steps(0=0, 0.5=0, 1=1)", "steps(0=0, 1=1)")]
    assert torch.equal(*same)
    assert torch.equal(draw(steps=3), never)


def test_over_the_frames_each_has_its_own_share(
    tiny_world: Path, request_of: AnimationRequest, files: dict[str, Path]
) -> None:
    """Without motion no frame knows of another, so a frame is that of its own scale throughout."""
    adapter = files["adapter"]
    still = Animator.load(str(tiny_world), motion="none", adapter=str(adapter))

    def of(scale: str) -> Tensor:
        asked = replace(request_of, motion="none", adapter=f"{adapter}:{scale}", scheduler="ddim")
        return still.animate(asked).latents

    turned_up = of("frames(0=0, 2=1)")
    for frame, scale in enumerate(("0", "0.5", "1")):
        alone = of(scale)[:, :, frame]
        assert torch.allclose(turned_up[:, :, frame], alone, atol=1e-3), frame
    assert not torch.allclose(of("0"), of("1"), atol=1e-2)


def test_windows_look_up_the_scales_of_their_own_frames(draw: Callable[..., Tensor]) -> None:
    asked = {"num_frames": 20, "steps": 1, "guidance": 1.0, "windows_in": "model"}
    plain = draw(motion="0", **asked)
    last = draw(motion="frames(0=0, 17=0, 18=1)", **asked)
    assert torch.equal(last[:, :, :4], plain[:, :, :4])
    assert not torch.allclose(last[:, :, 18:], plain[:, :, 18:], atol=1e-3)


@pytest.mark.parametrize("over", ["0.8", "steps(0=0.8)", "frames(0=0.8)"])
def test_motion_guidance_pulls_alike_however_a_scale_is_written(
    draw: Callable[..., Tensor], over: str
) -> None:
    pulled = draw(motion="0.8", motion_guidance=0.5)
    assert torch.allclose(draw(motion=over, motion_guidance=0.5), pulled, atol=1e-3)
    assert not torch.allclose(draw(motion=over), pulled, atol=1e-2)


def test_the_weights_come_back(draw: Callable[..., Tensor], changed: Animator) -> None:
    before = {name: value.clone() for name, value in changed.base.unet.state_dict().items()}
    draw(adapter="frames(0=1, 2=0)", motion="steps(0=1, 1=0)", lora="steps(0=0, 1=1)", steps=3)
    after = changed.base.unet.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_lora_over_frames_is_refused(request_of: AnimationRequest) -> None:
    with pytest.raises(InputError, match="let it change over the steps"):
        replace(request_of, loras=("noto:frames(0=1, 2=0)",)).validated()
