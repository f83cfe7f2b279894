"""How much frames are enlarged, and by which network: chosen once, stored with the animation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from animatediff.errors import InputError
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video
from animatediff.weights.storage.files import write_weights


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    weights = CompactUpscaler(channels=4, layers=1, scale=2).state_dict()
    return write_weights(tmp_path / "up.safetensors", weights, metadata={})


def test_an_animation_is_enlarged_and_can_be_made_again(
    tiny_world: Path, tiny_motion: Path, network: Path, tmp_path: Path
) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    stages: list[str] = []
    plain = animator.animate("a fox", num_frames=2, steps=1)
    larger = animator.animate(
        "a fox",
        num_frames=2,
        steps=1,
        upscaler=str(network),
        on_step=lambda progress: stages.append(progress.stage),
    )
    assert plain.request.upscale == 1
    assert larger.frames.shape == (2, 64, 64, 3)
    assert (larger.request.upscale, larger.request.width) == (2, 32)
    assert "upscale" in stages
    assert "upscaler" in larger.report.sha256s
    assert torch.equal(larger.latents, plain.latents)
    path = larger.save(tmp_path / "fox.apng")
    again = animator.animate(load_request(path))
    assert (Video.load(path).frames == again.frames).all()
    write_weights(network, CompactUpscaler(channels=4, layers=1, scale=4).state_dict(), metadata={})
    with pytest.raises(ValueError, match="another version"):
        load_request(path)


def test_a_request_that_was_stored_without_an_enlargement_has_none() -> None:
    table = AnimationRequest("a fox").as_table()
    del table["upscale"], table["upscaler"]
    assert AnimationRequest.from_table(table).upscale == 1


def test_what_cannot_be_is_refused_before_drawing(tiny_world: Path, tiny_motion: Path) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    with pytest.raises(InputError, match="no upscaler 'missing'"):
        animator.resolved(AnimationRequest("a fox", upscale=2, upscaler="missing"))
    many = AnimationRequest("a fox", width=1024, height=1024, upscale=8, interpolate=8)
    with pytest.raises(InputError, match="1,073,741,824 pixels"):
        animator.resolved(many)
    with pytest.raises(InputError, match="8192 pixels"):
        animator.resolved(AnimationRequest("a fox", width=2048, upscale=8))


def test_an_enlargement_without_any_network_says_what_to_give(
    tiny_world: Path, tiny_motion: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("animatediff.weights.finding.builtin.BUILTIN", tmp_path)
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    with pytest.raises(InputError, match="needs --upscaler FILE"):
        animator.resolved(AnimationRequest("a fox", upscale=2))


def test_the_built_in_model_is_enlarged_to_512_pixels_unless_a_size_is_asked() -> None:
    animator = Animator.load("emoji")
    enlarged = {
        "nothing": animator.resolved(AnimationRequest("a fox")),
        "factor": animator.resolved(AnimationRequest("a fox", upscale=1)),
        "width": animator.resolved(AnimationRequest("a fox", width=128)),
        "hires": animator.resolved(AnimationRequest("a fox", hires=2)),
        "twice": animator.resolved(AnimationRequest("a fox", upscale=2, width=64)),
    }
    assert {why: (r.upscale, r.upscaler) for why, r in enlarged.items()} == {
        "nothing": (4, "emoji"),
        "factor": (1, ""),
        "width": (1, ""),
        "hires": (1, ""),
        "twice": (2, "emoji"),
    }


def test_other_models_are_not_enlarged_unasked(tiny_world: Path, tiny_motion: Path) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    assert animator.resolved(AnimationRequest("a fox")).upscale == 1


def test_an_installation_without_the_upscaler_draws_128_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    animator = Animator.load("emoji")
    monkeypatch.setattr("animatediff.sampling.choosing.finish.own_upscaler", lambda model: "")
    assert animator.resolved(AnimationRequest("a fox")).upscale == 1
