"""Camera and object control against plain sums written from their papers, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.parity.test_image_to_video import plain_features
from tests.weights import synthetic
from torch import Tensor

from animatediff.errors import FileError, InputError
from animatediff.model.camera.posed_attention import temporal_block
from animatediff.model.motion_module import frame_positions
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.camera.followed import encoded_path
from animatediff.sampling.camera.moves import poses_of
from animatediff.sampling.camera.poses import rays, seen_from_first
from animatediff.sampling.object_motion.followed import movement
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights

FRAMES, SIDE = 3, 64
NAMES = ("camera-cameractrl", "camera-cmcm", "object-motion")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera")
    for name in ("motion-v3", *NAMES):
        tensors = {key: tensor.float() for key, tensor in synthetic.tensors(name).items()}
        write_weights(folder / f"{name}.safetensors", tensors, metadata={})
    return folder


@pytest.fixture(scope="module")
def animators() -> dict[str, Animator]:
    return {}


@pytest.fixture
def asked(small_world: Path, folder: Path) -> AnimationRequest:
    return AnimationRequest(
        prompt="a fox",
        model=str(small_world),
        motion=str(folder / "motion-v3.safetensors"),
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=2,
        guidance=3.0,
        seed=3,
        precision="fp32",
    )


def with_camera(request: AnimationRequest, folder: Path, name: str, scale: str = "1") -> Any:
    file = f"{folder / name}.safetensors:{scale}"
    if name == "object-motion":
        paths = ("0.2,0.5 0.8,0.5",)
        # The two steps of these tests are at 501 and 1.
        return replace(request, object_motion=file, object_paths=paths, object_until=400.0)
    return replace(request, camera=file, camera_path="zoom-in:2+roll-left")


def animator_of(request: AnimationRequest, animators: dict[str, Animator]) -> Animator:
    key = f"{request.camera.rpartition(':')[0]} {request.object_motion.rpartition(':')[0]}"
    if key not in animators:
        animators[key] = Animator.for_request(request)
    return animators[key]


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("name", NAMES)
def test_scale_0_is_nothing_bit_for_bit_and_removal_restores(
    name: str, asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    if name != "object-motion":  # which steers the first of two steps alone
        asked = replace(asked, steps=1)
    bare = animator_of(asked, animators).animate(asked).latents
    request = with_camera(asked, folder, name)
    animator = animator_of(request, animators)
    on = animator.animate(request).latents
    assert not torch.equal(on, bare)
    off = with_camera(asked, folder, name, "0")
    assert torch.equal(animator.animate(off).latents, bare)
    assert torch.equal(animator.animate(request).latents, on)
    half = animator.animate(with_camera(asked, folder, name, "0.5")).latents
    assert not torch.equal(half, on)
    if name != "object-motion":
        other = animator.animate(replace(request, camera_path="pan-left")).latents
        assert not torch.equal(other, on)


def heard_at(animator: Animator, request: AnimationRequest, layers: dict[str, Any]) -> Any:
    """Inputs and output of some layers, at the first prediction."""
    heard: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, layer in layers.items():

        def hear(_m: Any, inputs: Any, output: Tensor, name: str = name) -> None:
            heard.setdefault(name, (inputs[0].clone(), output.clone()))

        handles.append(layer.register_forward_hook(hear))
    animator.animate(request)
    for handle in handles:
        handle.remove()
    return heard


def plain_attention(weights: Callable[[str], Tensor], tokens: Tensor, clips: int) -> Tensor:
    """Attention along the frames, one position and one head after the other."""
    heads, width = 8, tokens.shape[-1] // 8
    query, key, value = (tokens @ weights(f"to_{p}.weight").T for p in "qkv")
    out = torch.zeros_like(tokens)
    frames = len(tokens) // clips
    for clip in range(clips):
        rows = slice(clip * frames, (clip + 1) * frames)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            q, k, v = (x[rows, :, part].transpose(0, 1) for x in (query, key, value))
            share = torch.softmax(q @ k.transpose(1, 2) / width**0.5, dim=-1)
            out[rows, :, part] = (share @ v).transpose(0, 1)
    return out @ weights("to_out.0.weight").T + weights("to_out.0.bias")


def layer_norm(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def plain_path(weights: dict[str, Tensor], seen: Tensor) -> list[Tensor]:
    """CameraCtrl's encoder of poses, written from its description."""
    own = {
        key.removeprefix("pose_encoder_state_dict."): value.float()
        for key, value in weights.items()
        if key.startswith("pose_encoder_state_dict.")
    }

    def conv(x: Tensor, name: str, padding: int = 0) -> Tensor:
        return F.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], padding=padding)

    x = conv(F.pixel_unshuffle(seen, 8), "encoder_conv_in", 1)
    found: list[Tensor] = []
    for level in range(4):
        for j in range(2):
            block = f"encoder_down_conv_blocks.{level}.{j}"
            if level and not j:
                x = F.avg_pool2d(x, 2)
            if f"{block}.in_conv.weight" in own:
                x = conv(x, f"{block}.in_conv")
            x = x + conv(F.relu(conv(x, f"{block}.block1", 1)), f"{block}.block2")
            f, c, h, w = x.shape
            prefix = f"encoder_down_attention_blocks.{level}.{j}"
            tokens = x.flatten(2).transpose(1, 2)
            normed = layer_norm(own, f"{prefix}.norms.0", tokens)
            positions = frame_positions(f, c)[:, None]
            attention = f"{prefix}.attention_blocks.0"
            tokens = tokens + plain_attention(
                lambda n, attention=attention: own[f"{attention}.{n}"], normed + positions, 1
            )
            wide = layer_norm(own, f"{prefix}.ff_norm", tokens)
            wide = (
                wide @ own[f"{prefix}.ff.net.0.proj.weight"].T + own[f"{prefix}.ff.net.0.proj.bias"]
            )
            value, gate = wide.chunk(2, dim=-1)
            tokens = tokens + (
                (value * F.gelu(gate)) @ own[f"{prefix}.ff.net.2.weight"].T
                + own[f"{prefix}.ff.net.2.bias"]
            )
            x = tokens.transpose(1, 2).reshape(f, c, h, w)
        found.append(x)
    return found


@pytest.mark.parametrize(("site", "level"), [("down_0_0", 0), ("down_2_1", 2), ("up_1_0", 2)])
def test_cameractrl_merges_poses_into_the_first_attention_of_each_module(
    site: str, level: int, asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    request = with_camera(asked, folder, "camera-cameractrl", "0.7")
    animator = animator_of(request, animators)
    attention = temporal_block(animator.animated, site).attention_blocks[0]
    tokens, output = heard_at(animator, request, {"a": attention})["a"]
    weights = synthetic.tensors("camera-cameractrl")
    poses = poses_of(request.camera_path, num_frames=FRAMES, version="cameractrl")
    planes = plain_path(weights, rays(poses, width=SIDE, height=SIDE))
    encoder = animator.added["camera"][0].encoder
    for ours, theirs in zip(
        encoded_path(encoder, rays(poses, width=SIDE, height=SIDE)), planes, strict=True
    ):
        assert (ours - theirs).abs().max() < 1e-4
    clips = len(tokens) // FRAMES
    pose = planes[level].flatten(2).transpose(1, 2).repeat(clips, 1, 1)
    hidden = tokens + frame_positions(FRAMES, tokens.shape[-1])[:, None].repeat(clips, 1, 1)
    side, block, layer = site.split("_")
    merge = (
        f"attention_processor_state_dict.{side}_blocks.{block}.motion_modules.{layer}."
        "temporal_transformer.transformer_blocks.0.attention_blocks.0.processor.qkv_merge."
    )
    merged = (hidden + pose) @ weights[f"{merge}weight"].float().T + weights[f"{merge}bias"].float()
    hidden = hidden + 0.7 * merged
    state = attention.state_dict()
    expected = plain_attention(lambda name: state[name], hidden, clips)
    assert (output - expected).abs().max() < 1e-4


def test_motionctrl_appends_poses_before_the_last_attention_and_zeros_without_the_prompt(
    asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    request = with_camera(asked, folder, "camera-cmcm")
    animator = animator_of(request, animators)
    block = temporal_block(animator.animated, "down_1_0")
    first, second = block.attention_blocks
    layers = {"norm": block.norms[0], "next": block.norms[1], "second": second}
    heard = heard_at(animator, request, layers)
    before, projected = heard["norm"][0], heard["next"][0]
    weights = {key: x.float() for key, x in synthetic.tensors("camera-cmcm").items()}
    prefix = "module.down_blocks.1.motion_modules.0.temporal_transformer.transformer_blocks.0."
    poses = poses_of(request.camera_path, num_frames=FRAMES, version="cmcm")
    numbers = poses.matrices.reshape(FRAMES, 12).float()
    clips = len(before) // FRAMES
    assert clips == 2
    rows = torch.cat([torch.zeros_like(numbers), numbers])[:, None].expand(-1, before.shape[1], -1)
    plain = before + plain_attention(
        lambda name: first.state_dict()[name],
        layer_norm(dict(block.state_dict()), "norms.0", before)
        + frame_positions(FRAMES, before.shape[-1])[:, None].repeat(clips, 1, 1),
        clips,
    )
    expected = (
        torch.cat([plain, rows], dim=-1) @ weights[f"{prefix}cc_projection.weight"].T
        + weights[f"{prefix}cc_projection.bias"]
    )
    assert (projected - expected).abs().max() < 1e-4
    normed = layer_norm(weights, f"{prefix}norms.1", expected)
    assert (heard["second"][0] - normed).abs().max() < 1e-4
    own = plain_attention(
        lambda name: weights[f"{prefix}attention_blocks.1.{name}"],
        normed + frame_positions(FRAMES, normed.shape[-1])[:, None].repeat(clips, 1, 1),
        clips,
    )
    assert (heard["second"][1] - own).abs().max() < 1e-4


@pytest.mark.usefixtures("latents_only")
def test_object_paths_add_features_to_early_steps_after_the_last_module_of_a_block(
    asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    request = with_camera(asked, folder, "object-motion")
    animator = animator_of(request, animators)
    unet = animator.base.unet
    added = heard_at(animator, request, {"next": unet.down_blocks[0].downsamplers[0]})["next"][0]
    off = heard_at(
        animator,
        replace(request, object_until=1000.0),
        {"next": unet.down_blocks[0].downsamplers[0]},
    )["next"][0]
    weights = {
        key.replace("omcm_state_dict.module.", "img_encoder."): x.float()
        for key, x in synthetic.tensors("object-motion").items()
    }
    drawn = F.interpolate(
        movement(["0.2,0.5 0.8,0.5"], num_frames=FRAMES), size=(SIDE, SIDE), mode="bilinear"
    )
    fields = torch.cat([torch.zeros_like(drawn), drawn])
    expected = plain_features(weights, F.pixel_unshuffle(fields, 8), scale=0.0)[0]
    assert (added - off - expected).abs().max() < 1e-4
    bare = animator.animate(replace(request, object_until=1000.0)).latents
    assert torch.equal(
        bare, animator.animate(with_camera(asked, folder, "object-motion", "0")).latents
    )


@pytest.mark.usefixtures("latents_only")
@pytest.mark.parametrize("name", NAMES)
def test_windows_travel_and_scales_of_frames_go_with_it(
    name: str, asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    request = replace(
        with_camera(asked, folder, name), num_frames=4, window_length=3, window_overlap=1, steps=1,
        prompts={"0": "a fox", "3": "an ox"}, object_until=0.0,
    )  # fmt: skip
    animator = animator_of(request, animators)
    one = animator.animate(request).latents
    assert torch.equal(one, animator.animate(request).latents)
    keyed = replace(
        request,
        camera=request.camera.replace(":1", ":frames(0=0, 3=1)"),
        object_motion=request.object_motion.replace(":1", ":frames(0=0, 3=1)"),
    )
    assert not torch.equal(one, animator.animate(keyed).latents)
    assert (
        animator.animate(replace(request, scheduler="lcm", guidance=1.0)).latents.isfinite().all()
    )
    short = replace(request, num_frames=1, prompts={}, window_length=None, window_overlap=None)
    larger = animator.animate(replace(short, hires=2.0))
    assert larger.latents.shape[-1] == 2 * one.shape[-1]
    inside = replace(request, windows_in="attention")
    assert not torch.equal(animator.animate(inside).latents, one)
    several = animator.animate(replace(request, prompts={}, prompt="a fox AND an ox"))
    assert several.latents.isfinite().all()


def test_long_paths_are_encoded_in_windows_of_the_trained_length(
    asked: AnimationRequest, folder: Path, animators: dict[str, Animator]
) -> None:
    request = with_camera(asked, folder, "camera-cameractrl")
    encoder = animator_of(request, animators).added["camera"][0].encoder
    poses = poses_of("pan-left", num_frames=24, version="cameractrl")
    seen = rays(poses, width=32, height=32)
    with torch.inference_mode():
        found = encoded_path(encoder, seen)
        first = encoder(seen[:16])
    assert [len(plane) for plane in found] == [24] * 4
    assert (found[0][:8] - first[0][:8]).abs().max() < 1e-5


def test_a_file_says_its_camera_and_a_missing_path_or_network_is_named(
    asked: AnimationRequest, folder: Path, animators: dict[str, Animator], tmp_path: Path
) -> None:
    poses = poses_of("turn-left", num_frames=FRAMES, version="cmcm")
    path = tmp_path / "poses.json"
    path.write_text(str(poses.matrices.reshape(FRAMES, 12).tolist()))
    request = replace(with_camera(asked, folder, "camera-cmcm"), camera_path=str(path))
    animator = animator_of(request, animators)
    animation = animator.animate(request)
    same = animator.animate(replace(request, camera_path="turn-left"))
    assert torch.equal(animation.latents, same.latents)
    assert {"camera", "camera-path"} <= animation.report.sha256s.keys()
    saved = animation.save(tmp_path / "x.gif")
    assert load_request(saved).camera_path == str(path)
    path.unlink()
    with pytest.raises(FileError, match=r"poses\.json is missing"):
        load_request(saved)
    with pytest.raises(InputError, match="--camera needs a path to follow"):
        Animator.for_request(replace(request, camera_path=""))
    with pytest.raises(InputError, match="--object-path is for a network"):
        Animator.for_request(replace(asked, object_paths=("0,0 1,1",)))


def test_another_motion_module_is_refused(asked: AnimationRequest, folder: Path) -> None:
    request = replace(with_camera(asked, folder, "camera-cameractrl"), motion="none")
    with pytest.raises(FileError, match="moves the camera through motion modules"):
        Animator.for_request(request)


def test_rays_are_those_of_the_published_formula() -> None:
    poses = poses_of("pan-left:2+turn-right+tilt-up:0.5", num_frames=4, version="cameractrl")
    width, height = 24, 16
    found = rays(poses, width=width, height=height).numpy()
    matrices = [np.vstack([m.numpy(), [0, 0, 0, 1]]) for m in poses.matrices]
    fx, fy, cx, cy = (float(x) for x in poses.lenses[0])
    fx = fx * height * (1280 / 720) / width  # narrower than the lens's own picture
    for frame, y, x in ((0, 0, 0), (1, 3, 7), (3, 15, 23)):
        to_world = matrices[0] @ np.linalg.inv(matrices[frame])
        pixel = np.array(
            [(x + 0.5 - cx * width) / (fx * width), (y + 0.5 - cy * height) / (fy * height), 1.0]
        )
        direction = to_world[:3, :3] @ (pixel / np.linalg.norm(pixel))
        origin = to_world[:3, 3]
        expected = np.concatenate([np.cross(origin, direction), direction])
        assert found[frame, :, y, x] == pytest.approx(expected, abs=1e-6)
    assert seen_from_first(poses).shape == (4, 12)
