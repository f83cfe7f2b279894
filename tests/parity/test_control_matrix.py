"""Everything that steers at once, with everything else: windows, travel, seeds, cancelling, LCM, SDXL.

Each row adds one of windows, travel, several seeds, cancelling, LCM and guidance off to a request that
has a ControlNet and an IP-Adapter (and a camera and a picture where the model takes them).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from tests.weights import synthetic
from tests.weights.tiny_ip_adapter import ip_adapter_weights, write_encoder

from animatediff.apps.server.working.making import AnimationMaker, bytes_of
from animatediff.apps.server.working.pool import Pool
from animatediff.errors import Cancelled
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video
from animatediff.weights.storage.files import write_weights

FRAMES, SIDE = 4, 64
WORLDS = ("sd15", "sdxl")


def write_all(folder: Path, world: Path, base: str) -> AnimationRequest:
    """The files of one image model, and a request that uses all of them."""
    unet = UNet2DConditionModel.from_pretrained(world / "unet")
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(unet)
    with torch.no_grad():
        for parameter in net.parameters():  # the zero convolutions too
            parameter.add_(torch.randn_like(parameter) * 0.03)
    write_weights(folder / "net.safetensors", net.state_dict(), metadata={})
    adapter = ip_adapter_weights("plus", unet, scale=0.2)
    write_weights(folder / "ip.safetensors", adapter, metadata={})
    write_encoder(folder / "image_encoder")
    motion = "motion-v3" if base == "sd15" else "motion-sdxl"
    for name in (motion, "camera-cameractrl"):
        tensors = {key: tensor.float() for key, tensor in synthetic.tensors(name).items()}
        write_weights(folder / f"{name}.safetensors", tensors, metadata={})
    (folder / "hints").mkdir()
    for frame in range(FRAMES):
        pixels = np.random.default_rng(frame).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "hints" / f"{frame:03}.png")
    hints = folder / "hints"
    request = AnimationRequest(
        prompt="a fox",
        model=str(world),
        motion=str(folder / f"{motion}.safetensors"),
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=2,
        guidance=3.0,
        scheduler="ddim",
        seed=3,
        precision="fp32",
        controls=(f"{folder / 'net.safetensors'}:0.7",),
        control_inputs=(str(hints),),
        ip_adapters=(f"{folder / 'ip.safetensors'}:0.5",),
        ip_images=(f"{hints / '000.png'}@0", f"{hints / '003.png'}@3"),
        image_encoder=str(folder / "image_encoder"),
    )
    if base == "sdxl":
        return request
    camera = f"{folder / 'camera-cameractrl.safetensors'}:0.5"
    return replace(
        request, camera=camera, camera_path="zoom-in", image=str(hints / "001.png"), strength=1.0
    )


@pytest.fixture(scope="module")
def requests(
    small_world: Path, small_xl: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, AnimationRequest]:
    worlds = {"sd15": small_world, "sdxl": small_xl}
    return {
        base: write_all(tmp_path_factory.mktemp(base), world, base)
        for base, world in worlds.items()
    }


@pytest.fixture(scope="module")
def animators(requests: dict[str, AnimationRequest]) -> dict[str, Animator]:
    return {base: Animator.for_request(request) for base, request in requests.items()}


TRAVEL = {"prompts": {"0": "a fox", "3": "an ox"}, "steps": 1}
ROWS: dict[str, dict[str, Any]] = {
    "looped windows": {"loop": True, "window_length": 3, "steps": 1},
    "travel": TRAVEL,
    "travel in windows": {**TRAVEL, "window_length": 3, "window_overlap": 1},
    "lcm without guidance": {"scheduler": "lcm", "guidance": 1.0},
    "perturbed attention and free u": {"perturbed_attention": 1.0, "free_u": "v2", "steps": 1},
}


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("base", WORLDS)
@pytest.mark.parametrize("row", ROWS)
def test_each_goes_with_all_that_steers_and_repeats(
    row: str, base: str, requests: dict[str, AnimationRequest], animators: dict[str, Animator]
) -> None:
    request = replace(requests[base], **ROWS[row])
    animator = animators[base]
    first = animator.animate(request).latents
    assert first.isfinite().all()
    assert torch.equal(first, animator.animate(request).latents)
    off = replace(
        request,
        controls=_without_scale(request.controls),
        ip_adapters=_without_scale(request.ip_adapters),
    )
    assert not torch.equal(first, animator.animate(off).latents)


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("base", WORLDS)
def test_several_seeds_and_a_cancelled_request_leave_nothing_behind(
    base: str, requests: dict[str, AnimationRequest], animators: dict[str, Animator]
) -> None:
    request, animator = requests[base], animators[base]
    first = animator.animate(request).latents
    other = animator.animate(replace(request, seed=4)).latents
    assert not torch.equal(first, other)
    stops = iter([False, True])
    with pytest.raises(Cancelled):
        animator.animate(request, should_stop=lambda: next(stops, True))
    assert torch.equal(animator.animate(request).latents, first)
    unet = animator.base.unet
    everything_off = replace(
        request,
        controls=_without_scale(request.controls),
        ip_adapters=_without_scale(request.ip_adapters),
        camera=_without_scale((request.camera,))[0] if request.camera else "",
        image="",
        strength=None,
    )
    bare = Animator.load(str(request.model), motion=str(request.motion))
    plain = replace(
        everything_off, controls=(), control_inputs=(), ip_adapters=(), ip_images=(),
        image_encoder="", camera="", camera_path="",
    )  # fmt: skip
    off = animator.animate(everything_off).latents
    assert torch.equal(off, bare.animate(plain).latents)
    assert not torch.equal(off, first)
    hooks = [m for m in unet.modules() if m._forward_pre_hooks]
    assert not hooks


def _without_scale(specs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{spec.rpartition(':')[0]}:0" for spec in specs)


def test_a_server_draws_the_same_from_uploads(
    requests: dict[str, AnimationRequest], animators: dict[str, Animator], tmp_path: Path
) -> None:
    """Control inputs, masks, image prompts and a picture by hash, as the API takes them."""
    hints = Path(requests["sd15"].control_inputs[0])
    frames = np.stack([np.asarray(Image.open(path)) for path in sorted(hints.iterdir())])
    mask = tmp_path / "mask.png"
    Image.fromarray(np.tile(np.arange(SIDE, dtype=np.uint8) * 4, (SIDE, 1))).save(mask)
    clip = Video(frames, 8).save(tmp_path / "hints.png", format="apng")
    files = dict(
        zip("c013a", (clip, *(hints / f"00{n}.png" for n in (0, 1, 3)), mask), strict=True)
    )

    def request(place: Callable[[str], str]) -> AnimationRequest:
        return replace(
            requests["sd15"],
            control_inputs=(place("c"),),
            control_masks=(place("a"),),
            ip_images=(f"{place('0')}@0", f"{place('3')}@3"),
            ip_masks=(place("a"),),
            image=place("1"),
        ).validated()

    asked = request(lambda name: name * 64)
    maker = AnimationMaker(
        Runtime(device="cpu", precision="fp32"), Pool(most=1 << 30, size_of=bytes_of)
    )
    made = maker.make(
        asked.as_table(),
        path_of=lambda digest: str(files[digest[0]]),
        on_step=lambda _: None,
        should_stop=lambda: False,
    )
    own = animators["sd15"].animate(request(lambda name: str(files[name])))
    ((path, _),) = made.write("apng", lambda suffix: tmp_path / f"made{suffix}")
    assert np.array_equal(Video.load(path).frames, own.frames)
    assert made.resolved["control_inputs"] == ["c" * 64]
    assert str(tmp_path) not in str(made.resolved)
