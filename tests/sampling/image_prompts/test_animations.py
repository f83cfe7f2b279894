"""Image prompts in whole animations: what must change nothing, and each frame its own picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_models import new_unet
from tests.weights.tiny_ip_adapter import ip_adapter_weights, write_encoder
from torch import Tensor

from animatediff.errors import FileError, InputError
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights

FRAMES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two IP-Adapters, an encoder, and pictures."""
    folder = tmp_path_factory.mktemp("image-prompts")
    for seed, form in enumerate(("base", "plus")):
        weights = ip_adapter_weights(form, new_unet(), seed=seed)
        write_weights(folder / f"{form}.safetensors", weights, metadata={})
    write_encoder(folder / "image_encoder")
    for name in "abc":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (40, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    for shade, name in ((255, "white"), (0, "black")):
        Image.new("L", (32, 32), shade).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def animators() -> dict[tuple[object, ...], Animator]:
    """Animators by what they have loaded, each loaded once."""
    return {}


def with_adapters(request: AnimationRequest, folder: Path, *specs: str, **more: Any) -> Any:
    adapters = tuple(f"{folder / s.split(':')[0]}.safetensors:{s.split(':')[1]}" for s in specs)
    fields = {"ip_images": (str(folder / "a.png"),), "image_encoder": str(folder), **more}
    return replace(request, ip_adapters=adapters, **fields)


def latents(request: AnimationRequest, animators: dict[tuple[object, ...], Animator]) -> Tensor:
    key = (request.motion, *(a.rpartition(":")[0] for a in request.ip_adapters))
    if key not in animators:
        animators[key] = Animator.for_request(request)
    return animators[key].animate(request).latents


def test_scale_zero_is_no_image_prompt_bit_for_bit_and_removal_restores(
    request_of: AnimationRequest, folder: Path, animators: dict[tuple[object, ...], Animator]
) -> None:
    bare = latents(request_of, animators)
    on = with_adapters(request_of, folder, "base:1", "plus:0.5")
    off = with_adapters(request_of, folder, "base:0", "plus:0")
    assert not torch.equal(latents(on, animators), bare)
    assert torch.equal(latents(off, animators), bare)
    nowhere = replace(on, ip_strengths=("0:3=0",))
    assert torch.equal(latents(nowhere, animators), bare)
    # Nothing that an animation left behind is in the U-Net of the next.
    unet = animators[(on.motion, *(a.rpartition(":")[0] for a in on.ip_adapters))].base.unet
    assert not any(m._forward_pre_hooks for n, m in unet.named_modules() if n.endswith("to_out.0"))


def test_the_order_of_several_does_not_matter(request_of: AnimationRequest, folder: Path) -> None:
    a, b = (str(folder / f"{name}.png") for name in "ab")
    one = with_adapters(
        request_of, folder, "base:1", "plus:0.5", ip_images=(f"1={a}", f"2={b}"),
        ip_strengths=("", "0=0.5"),
    )  # fmt: skip
    other = with_adapters(
        request_of, folder, "plus:0.5", "base:1", ip_images=(f"1={b}", f"2={a}"),
        ip_strengths=("0=0.5", ""),
    )  # fmt: skip
    assert torch.equal(latents(one, {}), latents(other, {}))


@pytest.mark.parametrize("form", ["base", "plus"])
def test_each_frame_follows_its_own_picture_strength_and_mask(
    form: str,
    request_of: AnimationRequest,
    folder: Path,
    animators: dict[tuple[object, ...], Animator],
    tmp_path: Path,
) -> None:
    """Without motion modules frames are independent, so a change to one changes it alone."""
    still = with_adapters(replace(request_of, motion="none"), folder, f"{form}:1")
    before = latents(still, animators)

    def changed(**fields: Any) -> list[bool]:
        after = latents(replace(still, **fields), animators)
        return ((before - after).abs().amax((0, 1, 3, 4)) > 1e-3).tolist()

    a, b = (str(folder / f"{name}.png") for name in "ab")
    assert changed(ip_images=(f"{a}@0", f"{b}@1", f"{a}@2")) == [False, True, False]
    assert changed(ip_strengths=("0=1, 1=0.3, 2=1",)) == [False, True, False]
    for frame, name in enumerate(("white", "black", "white")):
        (tmp_path / f"{frame}.png").write_bytes((folder / f"{name}.png").read_bytes())
    assert changed(ip_masks=(str(tmp_path),)) == [False, True, False]
    assert changed(ip_masks=(str(folder / "white.png"),)) == [False] * FRAMES
    assert changed(ip_ranges=("0:0.5",)) == [True] * FRAMES
    assert changed(ip_weights=("ease-out",)) == [True] * FRAMES


def test_windows_slice_it_and_travel_and_lcm_go_with_it(
    request_of: AnimationRequest, folder: Path, animators: dict[tuple[object, ...], Animator]
) -> None:
    a, b = (str(folder / f"{name}.png") for name in "ab")
    moves = with_adapters(
        replace(request_of, num_frames=8), folder, "base:1", ip_images=(f"{a}@0", f"{b}@7")
    )
    # Without motion modules windows change nothing, if every window is given its own frames.
    still = replace(moves, motion="none")
    whole = latents(still, animators)
    windowed = replace(still, window_length=4, window_overlap=2, noise="independent")
    parts = latents(windowed, animators)
    assert torch.allclose(whole, parts, atol=1e-4)
    travel = replace(moves, window_length=4, prompts={"0": "a fox", "7": "an ox"})
    found = latents(travel, animators)
    assert torch.equal(found, latents(travel, animators))
    assert not torch.equal(found, latents(replace(travel, ip_between="hold"), animators))
    assert latents(replace(travel, scheduler="lcm", guidance=1.0), animators).isfinite().all()


def test_a_file_says_what_it_followed_and_rerun_needs_the_same(
    request_of: AnimationRequest, folder: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "fox.png"
    picture.write_bytes((folder / "a.png").read_bytes())
    request = with_adapters(request_of, folder, "base:1", ip_images=(str(picture),))
    animation = Animator.for_request(request).animate(request)
    assert {"ip-adapter:base", "image-encoder", "ip-image:1"} <= animation.report.sha256s.keys()
    path = animation.save(tmp_path / "x.gif")
    assert load_request(path).ip_images == request.ip_images
    picture.write_bytes((folder / "b.png").read_bytes())
    with pytest.raises(FileError, match=r"made from another version of .*fox\.png"):
        load_request(path)


def test_an_animator_takes_pictures_of_its_loaded_adapter_and_no_other(
    request_of: AnimationRequest, folder: Path
) -> None:
    animator = Animator.load(
        request_of.model or "",
        motion=request_of.motion or "",
        ip_adapters=[f"{folder / 'base.safetensors'}:0.5"],
        image_encoder=str(folder),
    )
    picture = str(folder / "a.png")
    moved = animator.animate(replace(request_of, ip_images=(picture,)))
    assert moved.request.ip_adapters == (f"{folder / 'base.safetensors'}:0.5",)
    with pytest.raises(InputError, match="has no picture to follow"):
        animator.animate(request_of)


def test_an_encoder_of_another_size_is_refused_before_the_model_is_loaded(
    request_of: AnimationRequest, folder: Path, tmp_path: Path
) -> None:
    weights = ip_adapter_weights("base", new_unet())
    name = "image_proj.proj.weight"
    weights[name] = weights[name][:, :64].clone()
    write_weights(tmp_path / "other.safetensors", weights, metadata={})
    request = replace(
        with_adapters(request_of, folder),
        ip_adapters=(str(tmp_path / "other.safetensors"),),
        model=str(tmp_path / "nowhere"),
    )
    with pytest.raises(FileError, match=r"reads image features of 64 channels.* makes 128"):
        Animator.for_request(request)
