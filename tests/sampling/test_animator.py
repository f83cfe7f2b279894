"""The animator: the same request gives the same frames, and says how they came to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animatediff.errors import Cancelled, FileError, InputError, NumericalError
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise


def test_the_same_request_gives_the_same_video_also_after_another(
    animator: Animator, request_of: AnimationRequest, tiny_world: Path, tiny_motion: Path
) -> None:
    first = animator.animate(request_of).video.frames
    other = animator.animate(replace(request_of, seed=6)).video.frames
    again = animator.animate(request_of).video.frames
    fresh = Animator.load(str(tiny_world), motion=str(tiny_motion)).animate(request_of).video.frames
    assert np.array_equal(first, again)
    assert np.array_equal(first, fresh)
    assert not np.array_equal(first, other)


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("scheduler", ["ddim", "heun", "lms-karras", "dpm++3m-sde-karras"])
def test_schedulers_of_every_kind_end_with_numbers_and_repeat_themselves(
    animator: Animator, request_of: AnimationRequest, scheduler: Any
) -> None:
    """``steps/test_schedulers.py`` asks this of all of them."""
    asked = replace(request_of, scheduler=scheduler, steps=3)  # the third order, once
    first, again = animator.animate(asked), animator.animate(asked)
    assert first.latents.isfinite().all()
    assert torch.equal(first.latents, again.latents)


@pytest.mark.usefixtures("latents_only")
def test_guidance_of_one_ignores_the_negative_prompt(
    animator: Animator, request_of: AnimationRequest
) -> None:
    alone = replace(request_of, guidance=1.0)
    assert torch.equal(
        animator.animate(alone).latents,
        animator.animate(replace(alone, negative_prompt="an ox")).latents,
    )
    assert not torch.equal(
        animator.animate(request_of).latents,
        animator.animate(replace(request_of, negative_prompt="an ox")).latents,
    )


@pytest.mark.usefixtures("latents_only")
def test_without_motion_frames_do_not_know_of_each_other(
    tiny_world: Path, request_of: AnimationRequest
) -> None:
    still = Animator.load(str(tiny_world), motion="none")
    asked = replace(request_of, motion="none")
    three = still.animate(asked).latents
    two = still.animate(replace(asked, num_frames=2)).latents
    assert torch.allclose(three[:, :, :2], two, atol=1e-5)


def test_a_frame_keeps_its_noise_whatever_the_number_of_frames() -> None:
    few = initial_noise(3, num_frames=2, channels=4, height=4, width=4)
    many = initial_noise(3, num_frames=16, channels=4, height=4, width=4)
    assert torch.equal(few, many[:, :, :2])
    assert not torch.equal(many[:, :, 0], many[:, :, 1])


@pytest.mark.usefixtures("latents_only")
def test_a_lora_changes_pictures_and_at_scale_zero_does_not(
    animator: Animator,
    request_of: AnimationRequest,
    tiny_world: Path,
    tiny_motion: Path,
    tiny_lora: Path,
) -> None:
    plain = animator.animate(request_of).latents

    def styled(scale: str) -> torch.Tensor:
        loras = (f"{tiny_lora}:{scale}",)
        made = Animator.load(str(tiny_world), motion=str(tiny_motion), loras=loras)
        return made.animate(replace(request_of, loras=loras)).latents

    assert torch.equal(styled("0"), plain)
    assert not torch.allclose(styled("1"), plain)


def test_work_stops_between_two_steps(animator: Animator, request_of: AnimationRequest) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled, match="1 of 2 steps"):
        animator.animate(
            request_of,
            on_step=lambda progress: seen.append(progress.step),
            should_stop=lambda: bool(seen),
        )
    assert seen == [1]


def test_progress_comes_with_a_preview(animator: Animator, request_of: AnimationRequest) -> None:
    stages: list[tuple[str, int]] = []
    sizes: set[tuple[int, int]] = set()

    def watch(progress: Any) -> None:
        stages.append((progress.stage, progress.step))
        sizes.add(progress.preview().size)

    animator.animate(request_of, on_step=watch)
    assert stages[:2] == [("denoise", 1), ("denoise", 2)]
    assert stages[-1] == ("decode", 3)
    assert sizes == {(96, 32)}


def test_a_preview_shows_all_frames(animator: Animator, request_of: AnimationRequest) -> None:
    sheets: list[Any] = []

    def watch(progress: Any) -> None:
        sheets.append(progress.preview())

    animator.animate(replace(request_of, num_frames=6), on_step=watch)
    assert {sheet.size for sheet in sheets} == {(4 * 32, 2 * 32)}
    with pytest.MonkeyPatch.context() as patch:  # large frames are shown small, but all of them
        patch.setattr("animatediff.sampling.watch.PREVIEW_AREA", 1)
        patch.setattr("animatediff.sampling.watch.PREVIEW_FRAMES", 2)
        animator.animate(replace(request_of, num_frames=6), on_step=watch)
    assert sheets[-1].size == (4 * 16, 2 * 16)


def test_numbers_that_overflow_are_named_by_their_step(
    tiny_world: Path, tiny_motion: Path, request_of: AnimationRequest
) -> None:
    broken = Animator.load(str(tiny_world), motion=str(tiny_motion))
    with torch.no_grad():
        broken.base.unet.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="denoising step 1 of 2"):
        broken.animate(request_of)


def test_a_long_prompt_is_read_to_its_end_also_against_a_short_one(
    animator: Animator, request_of: AnimationRequest
) -> None:
    long = "fox " * 100
    ends = [animator.animate(replace(request_of, prompt=long + end)) for end in ("an", "a fox")]
    assert not torch.equal(ends[0].latents, ends[1].latents)
    assert ends[0].report.notes == animator.animate(request_of).report.notes
    assert animator.animate(replace(request_of, negative_prompt=long)).latents.isfinite().all()
    animator.animate(replace(request_of, prompt="狐狸 ثعلب 🦊"))


def test_a_prompt_names_its_loras_and_their_scales_are_live(
    animator: Animator, request_of: AnimationRequest, tiny_lora: Path
) -> None:
    def drawn(scale: float) -> torch.Tensor:
        tag = f"a fox <lora:{tiny_lora}:{scale}>"
        return animator.animate(replace(request_of, prompt=tag)).latents

    by_option = animator.animate(replace(request_of, prompt="a fox ", loras=(f"{tiny_lora}:0.5",)))
    before = animator.animate(request_of).latents
    first, other, again = drawn(0.5), drawn(-1), drawn(0.5)
    assert torch.equal(first, again)
    assert torch.equal(first, by_option.latents)
    assert not torch.equal(first, other)
    assert torch.equal(before, animator.animate(request_of).latents)
    coverage = by_option.report.coverage[tiny_lora.stem]
    assert coverage.split("/")[0] == coverage.split("/")[1].split()[0]


@pytest.mark.usefixtures("latents_only")
def test_editing_changes_the_prompt_between_steps(
    animator: Animator, request_of: AnimationRequest
) -> None:
    def drawn(prompt: str) -> torch.Tensor:
        return animator.animate(replace(request_of, prompt=prompt)).latents

    assert torch.equal(drawn("a [fox:an:0]"), drawn("a an"))
    assert torch.equal(drawn("a [fox:an:9]"), drawn("a fox"))
    edited = drawn("a [fox:an:1]")
    assert not torch.equal(edited, drawn("a fox"))
    assert not torch.equal(edited, drawn("a an"))


def test_wildcards_are_resolved_by_the_seed_and_kept_as_typed(
    animator: Animator, request_of: AnimationRequest, tmp_path: Path
) -> None:
    asked = replace(request_of, prompt="{a fox|an ox|a hare|an owl|a crow}")
    animation = animator.animate(asked)
    assert "{" not in animation.request.prompt
    assert animation.report.template == {"prompt": asked.prompt}
    path = animation.save(tmp_path / "fox.webp")
    assert load_request(path) == animation.request
    assert torch.equal(animator.animate(load_request(path)).latents, animation.latents)
    seeds = {animator.resolved(replace(asked, seed=seed)).prompt for seed in range(20)}
    assert len(seeds) > 2


@pytest.mark.parametrize("suffix", ["mp4", "webp", "gif", "apng", "webm"])
def test_a_saved_animation_carries_its_whole_request(
    animator: Animator, request_of: AnimationRequest, tmp_path: Path, suffix: str
) -> None:
    animation = animator.animate(replace(request_of, prompt='a "fox", 狐狸\nأ', fps="12.5"))
    path = animation.save(tmp_path / f"fox.{suffix}")
    request = load_request(path)
    assert request == animation.request
    assert np.array_equal(animator.animate(request).video.frames, animation.video.frames)


def test_a_file_made_with_other_weights_is_not_made_again(
    animator: Animator, request_of: AnimationRequest, tmp_path: Path, tiny_world: Path
) -> None:
    import shutil

    copy = tmp_path / "world"
    shutil.copytree(tiny_world, copy)
    asked = replace(request_of, model=str(copy))
    made = Animator.load(str(copy), motion=request_of.motion).animate(asked)
    path = made.save(tmp_path / "fox.webp")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    with pytest.raises(FileError, match="another version"):
        load_request(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 36}, "multiple of 8"),
        ({"num_frames": 0}, "1 to 1024"),
        ({"num_frames": 10_000}, "1 to 1024"),
        ({"prompt": "x" * 100_000}, "shorten it to 10000"),
        ({"steps": 0}, "steps = 0"),
        ({"guidance": float("nan")}, "guidance"),
        ({"seed": -1}, "seed = -1"),
        ({"fps": "0"}, "fps"),
        ({"scheduler": "dimm"}, "ddim"),
        ({"loras": ("a:b",)}, "noto:0.8"),
        ({"model": "other"}, "load another animator"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    animator: Animator, request_of: AnimationRequest, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        animator.animate(replace(request_of, **change))
    assert "\n" not in str(refused.value)


def test_requests_are_read_back_strictly(request_of: AnimationRequest) -> None:
    request = request_of.validated()
    assert AnimationRequest.from_json(request.to_json()) == request
    with pytest.raises(InputError, match="not a JSON object"):
        AnimationRequest.from_json("[1]")
    with pytest.raises(InputError):
        AnimationRequest.from_json(request.to_json().replace('"seed"', '"sede"'))


def test_a_prompt_alone_can_be_animated_but_names_no_model(animator: Animator) -> None:
    assert animator.resolved("a fox").prompt == "a fox"
    asked: Any = 3
    for make in (animator.animate, animator.resolved, Animator.for_request):
        with pytest.raises(InputError, match=r"AnimationRequest\(prompt='a fox'\)"):
            make(asked)
    asked = "a fox"
    with pytest.raises(InputError, match=r"AnimationRequest\(prompt='a fox'\)"):
        Animator.for_request(asked)
