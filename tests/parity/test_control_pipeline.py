"""Control in whole animations: against diffusers' pipelines, and what must not change anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff_controlnet import (
    AnimateDiffControlNetPipeline,
)
from diffusers.pipelines.animatediff.pipeline_animatediff_video2video_controlnet import (
    AnimateDiffVideoToVideoControlNetPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from PIL import Image
from tests.parity import control_reference as plain
from tests.parity.reference import VERSIONS, Denoiser
from tests.tiny_models import WIDTH
from tests.weights import synthetic
from tests.weights.synthetic.control import control_config, sparse_config
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.control.residuals import Residuals
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.weights.convert import convert
from animatediff.weights.storage.files import write_weights

FRAMES, STEPS, GUIDANCE, SEED, SIDE = 3, 5, 7.5, 3, 64


def randomised(module: nn.Module, *, seed: int) -> dict[str, Tensor]:
    """Random weights for a network, norms around one, and small enough that residuals steer gently."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        if name.endswith(".pe"):
            made[name] = tensor
            continue
        values = torch.randn(tensor.shape, generator=generator) * 0.05
        is_gain = "norm" in name and name.endswith("weight")
        made[name] = values + 1 if is_gain else values
    module.load_state_dict(made)
    module.eval().requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A motion module, two ControlNets, SparseCtrl, a T2I-Adapter, and frames for them to follow."""
    folder = tmp_path_factory.mktemp("control")
    motion = {name: tensor.float() for name, tensor in synthetic.tensors("motion-v3").items()}
    write_weights(folder / "motion.safetensors", motion, metadata={})
    small_net: dict[str, Any] = control_config("sd15", "small") | {"cross_attention_dim": WIDTH}
    for number in (1, 2):
        net = ControlNetModel(**small_net)
        weights = randomised(net, seed=number)
        write_weights(folder / f"net{number}.safetensors", weights, metadata={})
    for name, version, seed in (("sparse", "rgb", 5), ("sparse-scribble", "scribble", 6)):
        config: dict[str, Any] = sparse_config(version, "small") | {"cross_attention_dim": WIDTH}
        weights = randomised(SparseControlNetModel(**config), seed=seed)
        write_weights(folder / f"{name}.safetensors", weights, metadata={})
    adapter = {name: tensor.float() for name, tensor in synthetic.tensors("t2i-adapter").items()}
    write_weights(folder / "adapter.safetensors", adapter, metadata={})
    for name in ("a", "b"):
        (folder / name).mkdir()
        for frame in range(FRAMES):
            draw = np.random.default_rng([ord(name), frame])
            pixels = draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{frame:03}.png")
    return folder


@pytest.fixture(scope="module")
def animators(small_world: Path, folder: Path) -> dict[tuple[str, ...], Animator]:
    """Animators by their control networks, each loaded once."""
    del small_world, folder
    return {}


@pytest.fixture
def plain_request(small_world: Path, folder: Path) -> AnimationRequest:
    return AnimationRequest(
        prompt="a fox",
        negative_prompt="an ox",
        model=str(small_world),
        motion=str(folder / "motion.safetensors"),
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=2,
        guidance=GUIDANCE,
        scheduler="ddim",
        seed=SEED,
        precision="fp32",
    )


def with_nets(
    request: AnimationRequest, folder: Path, *specs: str, **fields: Any
) -> AnimationRequest:
    """The request with networks, each ``name:scale``, that follow the folders a, b, ... in turn."""
    dense = [spec for spec in specs if not spec.startswith("sparse")]
    inputs = tuple(str(folder / name) for name, _ in zip("ab", dense, strict=False))
    controls = tuple(
        f"{folder / spec.partition(':')[0]}.safetensors:{spec.partition(':')[2] or 1}"
        for spec in specs
    )
    return replace(request, controls=controls, **{"control_inputs": inputs, **fields})


def latents(request: AnimationRequest, animators: dict[tuple[str, ...], Animator]) -> Tensor:
    names = tuple(c.rpartition(":")[0] for c in request.controls)
    if names not in animators:
        animators[names] = Animator.for_request(request)
    return animators[names].animate(request).latents


def pipeline_of(kind: Any, animator: Animator, world: Path, folder: Path, adapter: Path) -> Any:
    """diffusers' pipeline with the same weights and both ControlNets."""
    nets = []
    small_net: dict[str, Any] = control_config("sd15", "small") | {"cross_attention_dim": WIDTH}
    for number in (1, 2):
        net = ControlNetModel(**small_net)
        randomised(net, seed=number)
        nets.append(net)
    path = convert(folder / "motion.safetensors", adapter, layout="diffusers", family="v3").path
    pipeline = kind(
        vae=animator.base.vae,
        text_encoder=animator.base.text_encoder,
        tokenizer=animator.base.tokenizer,
        unet=UNet2DConditionModel.from_pretrained(world / "unet"),
        motion_adapter=MotionAdapter.from_pretrained(path),
        controlnet=nets,
        scheduler=DDIMScheduler(
            beta_schedule="linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            timestep_spacing="leading",
            steps_offset=1,
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.usefixtures("latents_only")
def test_five_steps_with_two_controlnets_end_as_in_diffusers_pipeline(
    plain_request: AnimationRequest, small_world: Path, folder: Path, tmp_path: Path
) -> None:
    request = with_nets(
        replace(plain_request, steps=STEPS, numerics="diffusers"), folder, "net1:0.8", "net2:0.5",
        control_ranges=("0:1", "0.2:0.7"),
    )  # fmt: skip
    animator = Animator.for_request(request)
    ours = animator.animate(request).latents
    pipeline = pipeline_of(
        AnimateDiffControlNetPipeline, animator, small_world, folder, tmp_path / "adapter"
    )
    frames = [[Image.open(folder / name / f"{i:03}.png") for i in range(FRAMES)] for name in "ab"]
    noise = initial_noise(SEED, num_frames=FRAMES, channels=4, height=SIDE // 8, width=SIDE // 8)
    theirs = pipeline(
        prompt_embeds=encode_prompts(["a fox"], base=animator.base)[0].states,
        negative_prompt_embeds=encode_prompts(["an ox"], base=animator.base)[0].states,
        num_frames=FRAMES,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise,
        conditioning_frames=frames,
        controlnet_conditioning_scale=[0.8, 0.5],
        control_guidance_start=[0.0, 0.2],
        control_guidance_end=[1.0, 0.7],
        output_type="latent",
    ).frames
    without = Animator.load(
        str(small_world), motion=str(folder / "motion.safetensors"), numerics="diffusers"
    ).animate(replace(plain_request, steps=STEPS, numerics="diffusers"))
    assert (ours - theirs).abs().max() < 1e-3
    assert (ours - without.latents).abs().max() > 1e-2


@pytest.mark.usefixtures("latents_only")
def test_networks_of_load_need_not_be_repeated_for_their_inputs(
    plain_request: AnimationRequest, small_world: Path, folder: Path
) -> None:
    """Inputs were checked against the request's own networks, of which there were none."""
    request = with_nets(plain_request, folder, "net1:0.8")
    once = Animator.for_request(request).animate(request)
    loaded = Animator.load(
        str(small_world), motion=str(folder / "motion.safetensors"), controls=request.controls
    )
    again = loaded.animate(plain_request, control_inputs=request.control_inputs)
    assert again.request.controls == request.controls
    assert torch.equal(again.latents, once.latents)


@pytest.mark.usefixtures("latents_only")
def test_video_to_video_with_two_controlnets_ends_as_in_diffusers_pipeline(
    plain_request: AnimationRequest, small_world: Path, folder: Path, tmp_path: Path
) -> None:
    """Three of five steps, from the same video, noise and hints."""
    request = with_nets(
        replace(plain_request, steps=STEPS, numerics="diffusers"), folder, "net1:0.8", "net2:0.5",
        init=str(folder / "b"), strength=0.6,
    )  # fmt: skip
    animator = Animator.for_request(request)
    ours = animator.animate(request).latents
    pipeline = pipeline_of(
        AnimateDiffVideoToVideoControlNetPipeline,
        animator,
        small_world,
        folder,
        tmp_path / "adapter",
    )
    hints = [[Image.open(folder / name / f"{i:03}.png") for i in range(FRAMES)] for name in "ab"]
    video = np.stack([np.asarray(picture) for picture in hints[1]])
    noise = initial_noise(SEED, num_frames=FRAMES, channels=4, height=SIDE // 8, width=SIDE // 8)
    pipeline.scheduler.set_timesteps(STEPS)
    clean = encoded(video, vae=animator.base.vae, device=animator.base.device)
    begun = pipeline.scheduler.add_noise(clean, noise, pipeline.scheduler.timesteps[2:3])
    theirs = pipeline(
        latents=begun,
        prompt_embeds=encode_prompts(["a fox"], base=animator.base)[0].states,
        negative_prompt_embeds=encode_prompts(["an ox"], base=animator.base)[0].states,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        strength=0.6,
        guidance_scale=GUIDANCE,
        conditioning_frames=hints,
        controlnet_conditioning_scale=[0.8, 0.5],
        output_type="latent",
    ).frames
    assert (ours - theirs).abs().max() < 1e-3
    assert (ours - clean).abs().max() > 1e-2


@pytest.mark.usefixtures("latents_only")
def test_strength_zero_is_no_control_bit_for_bit(
    plain_request: AnimationRequest, folder: Path, animators: dict[tuple[str, ...], Animator]
) -> None:
    plain_request = replace(plain_request, steps=1)
    bare = latents(plain_request, animators)
    sparse = (f"{folder / 'a' / '000.png'}@0",)
    off = with_nets(plain_request, folder, "net1:0", "adapter:0", "sparse:0", sparse=sparse)
    assert torch.equal(latents(off, animators), bare)
    nowhere = with_nets(plain_request, folder, "net1:1", "adapter:1", control_strengths=("0:3=0",))
    assert torch.equal(latents(nowhere, animators), bare)
    on = with_nets(plain_request, folder, "net1:1", "adapter:1", "sparse:1", sparse=sparse)
    assert not torch.equal(latents(on, animators), bare)
    # The network stays loaded, and leaves no trace in a request without it.
    animator = animators[tuple(c.rpartition(":")[0] for c in on.controls)]
    assert torch.equal(animator.animate(off).latents, bare)


@pytest.mark.usefixtures("latents_only")
def test_the_order_of_several_networks_does_not_matter(
    plain_request: AnimationRequest, folder: Path
) -> None:
    given: dict[str, Any] = {
        "control_inputs": tuple(str(folder / name) for name in "aba"),
        "sparse": (f"{folder / 'b' / '001.png'}@1",),
    }
    nets = ("net1:0.7", "net2:0.4", "adapter:0.5", "sparse:0.6")
    plain_request = replace(plain_request, steps=1)
    one = with_nets(plain_request, folder, *nets, **given)
    other = with_nets(plain_request, folder, *(nets[i] for i in (3, 2, 1, 0)), **given)
    first = Animator.for_request(one).animate(one).latents
    assert torch.equal(first, Animator.for_request(other).animate(other).latents)
    less = with_nets(plain_request, folder, *nets[:3], control_inputs=given["control_inputs"])
    assert not torch.equal(first, Animator.for_request(less).animate(less).latents)


@pytest.mark.usefixtures("latents_only")
def test_sparse_networks_follow_pictures_of_their_own(
    plain_request: AnimationRequest, folder: Path, animators: dict[tuple[str, ...], Animator]
) -> None:
    """They shared every picture, so a scribble network was shown the photographs of an rgb network."""
    a, b = f"{folder / 'a' / '000.png'}@0", f"{folder / 'b' / '000.png'}@0"

    def drawn(*specs: str, sparse: tuple[str, ...]) -> Tensor:
        request = with_nets(replace(plain_request, steps=1), folder, *specs, sparse=sparse)
        return latents(request, animators)

    for scales, own in (
        (("sparse:0.6", "sparse-scribble:0"), a),
        (("sparse:0", "sparse-scribble:0.5"), b),
    ):
        pair = drawn(*scales, sparse=(f"1={a}", f"2={b}"))
        assert torch.equal(pair, drawn(*scales, sparse=(own,)))
        assert not torch.equal(pair, drawn(*scales, sparse=(f"1={b}", f"2={a}")))


@pytest.mark.usefixtures("latents_only")
def test_every_frame_follows_its_own_hint(
    plain_request: AnimationRequest, folder: Path, tmp_path: Path
) -> None:
    """Without motion modules frames are independent, so a changed hint changes its frame alone."""
    still = replace(plain_request, motion="none")
    animators: dict[tuple[str, ...], Animator] = {}
    before = latents(with_nets(still, folder, "net1:1"), animators)
    for frame in range(FRAMES):
        source = folder / ("b" if frame == 1 else "a") / f"{frame:03}.png"
        (tmp_path / f"{frame:03}.png").write_bytes(source.read_bytes())
    after = latents(with_nets(still, folder, "net1:1", control_inputs=(str(tmp_path),)), animators)
    changed = (before - after).abs().amax((0, 1, 3, 4)) > 1e-4
    assert changed.tolist() == [False, True, False]


@pytest.mark.usefixtures("latents_only")
def test_modes_masks_and_ranges_change_what_they_should(
    plain_request: AnimationRequest, folder: Path, animators: dict[tuple[str, ...], Animator],
    tmp_path: Path,
) -> None:  # fmt: skip
    base = with_nets(plain_request, folder, "net1:1")
    full = latents(base, animators)
    found = {"balanced": full}
    for name, fields in {
        "prompt": {"control_modes": ("prompt",)},
        "control": {"control_modes": ("control",)},
        "first half": {"control_ranges": ("0:0.5",)},
        "second half": {"control_ranges": ("0.5:1",)},
    }.items():
        found[name] = latents(replace(base, **fields), animators)
    values = list(found.values())
    assert all(not torch.equal(a, b) for i, a in enumerate(values) for b in values[i + 1 :])
    for shade, wanted in ((255, full), (0, latents(plain_request, animators))):
        Image.new("RGB", (SIDE, SIDE), (shade,) * 3).save(tmp_path / "mask.png")
        masked = replace(base, control_masks=(str(tmp_path / "mask.png"),))
        assert (latents(masked, animators) - wanted).abs().max() < 1e-4


@pytest.mark.usefixtures("latents_only")
def test_sparse_control_steers_windows_lcm_and_travel(
    plain_request: AnimationRequest, folder: Path, animators: dict[tuple[str, ...], Animator]
) -> None:
    sparse = (f"{folder / 'a' / '000.png'}@0",)
    request = replace(
        with_nets(plain_request, folder, "sparse:1", "net1:0.5", sparse=sparse),
        prompts={"0": "a fox", "2": "an ox"},
        free_init=2,
        steps=1,
    )
    one = latents(request, animators)
    assert not torch.equal(one, latents(replace(request, sparse_motion=0.0), animators))
    assert not torch.equal(one, latents(replace(request, sparse_latents="sample"), animators))
    assert torch.equal(one, latents(request, animators))
    long = replace(request, num_frames=36, prompts={}, free_init=1)
    far = latents(long, animators)
    assert not torch.equal(far, latents(replace(long, sparse_nearest=False), animators))
    assert latents(replace(request, scheduler="lcm", guidance=1.0), animators).isfinite().all()


def test_colours_are_matched_when_asked_for_and_stored(
    plain_request: AnimationRequest, folder: Path, animators: dict[tuple[str, ...], Animator],
    tmp_path: Path,
) -> None:  # fmt: skip
    Image.new("RGB", (SIDE, SIDE), (200, 40, 40)).save(tmp_path / "red.png")
    request = with_nets(
        plain_request,
        folder,
        "sparse:1",
        sparse=(f"{tmp_path / 'red.png'}@0",),
        sparse_colours=True,
    )
    latents(request, animators)
    animator = animators[tuple(c.rpartition(":")[0] for c in request.controls)]
    video = animator.animate(request).video
    assert np.abs(video.frames.mean((1, 2)) - [200, 40, 40]).max() < 6


def test_a_file_says_what_it_followed_and_rerun_needs_the_same(
    plain_request: AnimationRequest, folder: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "edges.png"
    picture.write_bytes((folder / "a" / "000.png").read_bytes())
    request = with_nets(plain_request, folder, "net1:1", control_inputs=(str(picture),))
    animation = Animator.for_request(request).animate(request)
    assert {"control:net1", "control-input:1"} <= animation.report.sha256s.keys()
    path = animation.save(tmp_path / "x.gif")
    assert load_request(path).controls == request.controls
    picture.write_bytes((folder / "b" / "000.png").read_bytes())
    with pytest.raises(FileError, match=r"made from another version of .*edges\.png"):
        load_request(path)
    picture.unlink()
    with pytest.raises(FileError, match=r"inputs that are not all here: .*edges\.png is missing"):
        load_request(path)


def test_wrong_inputs_are_refused_before_the_model_is_loaded(
    plain_request: AnimationRequest, folder: Path
) -> None:
    request = replace(plain_request, controls=(str(folder / "net1.safetensors"),), model="nowhere")
    with pytest.raises(InputError, match="give --control-input once for each"):
        Animator.for_request(request)
    with pytest.raises(FileError, match=r"is a motion module.*--control needs a ControlNet"):
        Animator.for_request(replace(request, controls=(request.motion,)))


SD15_BLOCKS = ((32, 8), (64, 4), (128, 2), (128, 1))
SD15_SKIPS = (*[(32, 8)] * 3, (32, 4), *[(64, 4)] * 2, (64, 2), *[(128, 2)] * 2, *[(128, 1)] * 3)
SDXL_BLOCKS = ((32, 4), (64, 4), (128, 2), (128, 2))
"""The fourth is for the middle block, as SDXL has three down blocks."""
SDXL_SKIPS = (*[(32, 8)] * 3, (32, 4), *[(64, 4)] * 2, (64, 2), *[(128, 2)] * 2)


@pytest.mark.parametrize(
    ("base", "motion", "version", "skip_shapes", "block_shapes"),
    [
        ("sd15", "motion-v3", "v3", SD15_SKIPS, SD15_BLOCKS),
        ("sdxl", "motion-sdxl", "sdxl-beta", SDXL_SKIPS, SDXL_BLOCKS),
    ],
)
@torch.no_grad()
def test_the_unet_adds_residuals_where_the_reference_does(
    base: str, motion: str, version: str, skip_shapes: Any, block_shapes: Any
) -> None:
    torch.manual_seed(0)
    config: dict[str, Any] = synthetic.unet_config(base, "small") | {"norm_num_groups": 8}
    unet = UNet2DConditionModel(**config).eval()
    weights = {name: tensor.float() for name, tensor in synthetic.tensors(motion).items()}
    animated = AnimatedUNet(unet, norm_scope="video" if base == "sdxl" else "frame")
    animated.load_motion_state_dict(our_names(weights))
    animated.eval()
    x, text = torch.randn(2, 4, FRAMES, 8, 8), torch.randn(2, 5, config["cross_attention_dim"])
    heads = (8,) * 4 if base == "sd15" else tuple(w // 8 for w in config["block_out_channels"])
    reference = Denoiser(
        unet.state_dict(), weights, VERSIONS[version], groups=8, spatial_heads=heads
    )
    pooled, sizes = torch.randn(2, 1280), 100 * torch.rand(2, 6)
    added = {"text_embeds": pooled, "time_ids": sizes} if base == "sdxl" else {}
    also: dict[str, Any] = {"pooled": pooled, "sizes": sizes, "size_width": 256} if added else {}
    skips = [torch.randn(2, c, FRAMES, s, s) for c, s in skip_shapes]
    mid = torch.randn_like(skips[-1])
    blocks = [torch.randn(2, c, FRAMES, s, s) for c, s in block_shapes]
    for given in ((skips, mid, []), ([], None, blocks), (skips, mid, blocks)):
        wanted = plain.steered(
            reference, x, 601, text, skips=given[0], mid=given[1], blocks=given[2], **also
        )
        found = animated(
            x,
            601,
            text,
            added_cond_kwargs=added,
            residuals=Residuals(
                tuple(map(folded, given[0])),
                None if given[1] is None else folded(given[1]),
                tuple(map(folded, given[2])),
            ),
        )
        assert (found - wanted).abs().max() < 1e-4


def folded(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(0, 1)


def our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    from animatediff.weights.names.recognise import recognise

    found = recognise(weights, kind="motion")
    assert found is not None
    return {ours: weights[theirs] for theirs, ours in found.names.items()}
