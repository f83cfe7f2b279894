"""PIA against diffusers' pipeline, and AnimateLCM's encoder of a picture against plain sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from PIL import Image
from tests.parity.test_control_pipeline import randomised
from tests.tiny_models import WIDTH
from tests.weights import synthetic
from tests.weights.synthetic.control import sparse_config
from torch import Tensor

from animatediff.model.motion_module import frame_positions
from animatediff.sampling.animator import Animator
from animatediff.sampling.image_to_video.affinity import affinities
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.weights.storage.files import write_weights

FRAMES, SIDE = 3, 64


def small(name: str) -> dict[str, Tensor]:
    """Numbers that leave the model's own signal visible."""
    return {key: tensor.float() * 0.5 for key, tensor in synthetic.tensors(name).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("i2v")
    for name in ("motion-pia", "motion-lcm-i2v"):
        write_weights(folder / f"{name}.safetensors", small(name), metadata={})
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    return folder


def asked(small_world: Path, folder: Path, name: str, **fields: object) -> AnimationRequest:
    request = AnimationRequest(
        prompt="a fox",
        model=str(small_world),
        motion=str(folder / f"{name}.safetensors"),
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=2,
        guidance=3.0,
        seed=3,
        precision="fp32",
        image=str(folder / "a.png"),
    )
    return replace(request, **fields)  # type: ignore[arg-type]


def test_pia_reads_noisy_latents_affinity_and_picture_in_this_order(
    small_world: Path, folder: Path
) -> None:
    """The first convolution of the animation is one of nine channels over all three."""
    request = asked(small_world, folder, "motion-pia", image_motion="large")
    animator = Animator.for_request(request)
    assert animator.model.ways == ("pia", "blend")
    conv = animator.base.unet.conv_in
    entered: list[Tensor] = []
    resnet = animator.base.unet.down_blocks[0].resnets[0]
    handle = resnet.register_forward_pre_hook(lambda _m, inputs: entered.append(inputs[0].clone()))
    latents: list[Tensor] = []
    before = conv.register_forward_pre_hook(lambda _m, inputs: latents.append(inputs[0].clone()))
    animation = animator.animate(request)
    handle.remove()
    before.remove()
    kernel = small("motion-pia")["conv_in.weight"]
    whole = torch.cat([conv.weight, kernel[:, 4:]], dim=1)
    pixels = np.asarray(Image.open(folder / "a.png"))[None]
    picture = encoded(pixels, vae=animator.base.vae, device=animator.base.device)[:, :, 0]
    mask = torch.tensor(affinities("large", num_frames=FRAMES))[:, None, None, None]
    clips = len(latents[0]) // FRAMES
    nine = torch.cat(
        [
            latents[0],
            mask.expand(-1, 1, 8, 8).repeat(clips, 1, 1, 1),
            picture.expand(FRAMES, -1, -1, -1).repeat(clips, 1, 1, 1),
        ],
        dim=1,
    )
    expected = F.conv2d(nine, whole, conv.bias, padding=1)
    assert (entered[0] - expected).abs().max() < 1e-4
    assert any("PIA's motion module" in note for note in animation.report.notes)
    assert "dB (PSNR)" in " ".join(animation.report.notes)
    other = animator.animate(replace(request, image_motion="small"))
    assert not torch.equal(other.latents, animation.latents)
    bare = animator.animate(replace(request, image=""))
    assert any("none was given" in note for note in bare.report.notes)
    begun = animator.animate(replace(request, strength=0.5))
    assert not torch.equal(begun.latents, animation.latents)


def plain_features(weights: dict[str, Tensor], latents: Tensor, *, scale: float) -> list[Tensor]:
    """AnimateLCM's encoder, written from its published description."""

    def conv(x: Tensor, name: str, padding: int = 0) -> Tensor:
        prefix = f"img_encoder.{name}"
        return F.conv2d(x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], padding=padding)

    x = conv(latents, "conv_in", padding=1)
    x = x + scale * frame_positions(len(x), x.shape[1])[:, :, None, None]
    found: list[Tensor] = []
    for index in range(8):
        if index in (2, 4, 6):
            x = F.avg_pool2d(x, 2)
        if f"img_encoder.body.{index}.in_conv.weight" in weights:
            x = conv(x, f"body.{index}.in_conv")
        h = conv(F.relu(conv(x, f"body.{index}.block1", padding=1)), f"body.{index}.block2")
        x = x + h
        if index % 2:
            found.append(x)
    return found


def test_animatelcm_adds_features_before_the_last_motion_module_of_each_down_block(
    small_world: Path, folder: Path
) -> None:
    request = asked(small_world, folder, "motion-lcm-i2v", guidance=1.0)
    animator = Animator.for_request(request)
    assert animator.model.ways == ("animatelcm-i2v", "blend")
    heard: dict[str, list[Tensor]] = {}
    handles = []
    for block in range(4):
        name = f"down_{block}_1"
        branch = animator.animated.motion[name]
        heard[name] = []
        handles.append(
            branch.register_forward_pre_hook(
                lambda _m, inputs, name=name: heard[name].append(inputs[1].clone())
            )
        )
    moved = animator.animate(request)
    bare = animator.animate(replace(request, image=""))
    for handle in handles:
        handle.remove()
    weights = small("motion-lcm-i2v")
    pixels = np.asarray(Image.open(folder / "a.png"))[None]
    picture = encoded(pixels, vae=animator.base.vae, device=animator.base.device)[0]
    picture = picture.transpose(0, 1).expand(FRAMES, -1, -1, -1)
    expected = plain_features(weights, picture, scale=0.8)
    # Up to the first of these layers both runs are equal: the features are the difference there.
    difference = heard["down_0_1"][0] - heard["down_0_1"][2]
    assert (difference - expected[0]).abs().max() < 1e-4
    assert [plane.shape[1:] for plane in expected] == [heard[n][0].shape[1:] for n in heard]
    assert not torch.equal(moved.latents, bare.latents)
    less = animator.animate(replace(request, image_motion_scale=0.2))
    assert not torch.equal(less.latents, moved.latents)


def test_sparse_control_is_given_the_picture_at_frame_0(
    small_world: Path, folder: Path, tmp_path: Path
) -> None:
    config = sparse_config("rgb", "small") | {"cross_attention_dim": WIDTH}
    net = randomised(SparseControlNetModel(**config), seed=5)
    write_weights(tmp_path / "sparse.safetensors", net, metadata={})
    request = asked(
        small_world, folder, "motion-pia", controls=(str(tmp_path / "sparse.safetensors"),)
    )
    animator = Animator.for_request(request)
    assert animator.model.ways == ("sparse-control", "pia", "blend")
    found = animator.animate(request)
    given = animator.animate(replace(request, image="", sparse=(f"{folder / 'a.png'}@0",)))
    assert torch.equal(found.latents, given.latents)
    assert "SparseCtrl rgb model" in " ".join(found.report.notes)
