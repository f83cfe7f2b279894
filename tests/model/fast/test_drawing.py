"""A model that draws by fast paths predicts what it predicts without them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from animatediff.model import AnimatedUNet, attach_domain_adapter
from animatediff.model.fast import linear
from animatediff.model.fast.convolutions import winograd
from animatediff.model.fast.convolutions.folded_upsampling import fold_upsampling
from animatediff.model.fast.convolutions.small_maps import multiply_small_maps
from animatediff.model.fast.convolutions.winograd import convolved
from animatediff.model.fast.drawing import Drawing, decode_fast, plan_drawing
from animatediff.model.fast.linear import by_onednn, by_torch
from animatediff.model.fast.linear_library import fastest_library
from animatediff.model.fast.text.cached_text import CachedText
from animatediff.model.free_u import SD15, FreeU
from animatediff.model.grafts.merging import exchanged
from animatediff.model.image_prompts.attention import (
    ImageAttention,
    ImagePrompt,
    ImageTokens,
    cross_attentions,
)
from animatediff.runtime import FAST_PATHS, FastPath, Runtime, channels_last
from animatediff.sampling.around.perturbed_attention import perturbed

TOLERANCE = 1e-5
ALL = frozenset(FAST_PATHS)
WIDE = {
    "sample_size": 8,
    "block_out_channels": (64, 128),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 64,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


def animated_of(**changes: Any) -> AnimatedUNet:
    """A model of random weights whose outputs have a standard deviation near 1."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**{**WIDE, **changes}).eval().requires_grad_(False)
    animated = AnimatedUNet(unet, mid=True).eval().requires_grad_(False)
    for module in animated.motion.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return channels_last(animated)


@pytest.fixture(autouse=True)
def every_size_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)


@pytest.fixture(scope="module")
def animated() -> AnimatedUNet:
    return animated_of()


def inputs(*, frames: int = 4, equal: bool = True) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, frames, 8, 8, generator=draw)
    latents = latents[:1].expand(2, -1, -1, -1, -1).contiguous() if equal else latents
    return {
        "latents": latents,
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(2, 7, 64, generator=draw),
    }


@torch.inference_mode()
def predicted(animated: AnimatedUNet, given: dict[str, Any]) -> Tensor:
    return animated(**given).clone()


def both(animated: AnimatedUNet, given: dict[str, Any], paths: Any = ALL) -> tuple[Tensor, Tensor]:
    """The prediction without and with fast paths."""
    plain = predicted(animated, given)
    drawing = Drawing(animated, frozenset(paths))
    try:
        return plain, predicted(animated, given)
    finally:
        drawing.remove()


def assert_near(one: Tensor, other: Tensor) -> None:
    assert float((one - other).abs().max()) < TOLERANCE * max(1.0, float(one.std()))


@pytest.mark.parametrize("path", FAST_PATHS)
def test_each_path_predicts_what_the_plain_model_does(
    animated: AnimatedUNet, path: FastPath
) -> None:
    assert_near(*both(animated, inputs(), {path}))


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("frames", [1, 3, 4])
def test_all_paths_together_do(animated: AnimatedUNet, equal: bool, frames: int) -> None:
    assert_near(*both(animated, inputs(frames=frames, equal=equal)))


def test_a_removed_path_leaves_no_trace(animated: AnimatedUNet) -> None:
    given = inputs()
    before = predicted(animated, given)
    state = {name: dict(vars(module)) for name, module in animated.named_modules()}
    drawing = Drawing(animated, ALL)
    predicted(animated, given)
    drawing.remove()
    drawing.remove()
    assert torch.equal(predicted(animated, given), before)
    after = {name: dict(vars(module)) for name, module in animated.named_modules()}
    assert {n: v.keys() for n, v in after.items()} == {n: v.keys() for n, v in state.items()}
    processors = animated.unet.attn_processors.values()
    assert all(type(each) is AttnProcessor2_0 for each in processors)


def test_a_text_for_each_frame_or_another_size_is_no_other_prediction(
    animated: AnimatedUNet,
) -> None:
    given = inputs()
    every = torch.randn(2, 4, 7, 64, generator=torch.Generator().manual_seed(3))
    assert_near(*both(animated, given | {"encoder_hidden_states": every}))
    odd = torch.randn(2, 4, 4, 6, 10, generator=torch.Generator().manual_seed(3))
    assert_near(*both(animated, given | {"latents": odd}))


def test_the_text_is_projected_once_for_a_prompt_and_again_for_other_weights(
    animated: AnimatedUNet,
) -> None:
    given = inputs()
    layer = next(cross_attentions(animated.unet)).to_k
    assert isinstance(layer, nn.Linear)
    calls: list[int] = []
    forward = layer.forward
    other = {layer.weight: layer.weight.data * 2}
    with exchanged(other):
        changed = predicted(animated, given)
    plain = predicted(animated, given)
    drawing = Drawing(animated, frozenset(("text",)))
    layer.forward = lambda text: (calls.append(len(text)), forward(text))[1]
    try:
        for _ in range(3):
            assert_near(predicted(animated, given), plain)
        assert calls == [2]
        with exchanged(other):
            assert_near(predicted(animated, given), changed)
        assert calls == [2, 2]
        assert_near(predicted(animated, given), plain)
        assert calls == [2, 2]
        text = given["encoder_hidden_states"].flip(0)
        predicted(animated, given | {"encoder_hidden_states": text})
        assert calls == [2, 2, 2]
    finally:
        del layer.forward
        drawing.remove()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 7, 16, 77])
def test_keys_that_fill_vectors_are_not_seen(tokens: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = Attention(64, cross_attention_dim=48, heads=2, dim_head=32).eval().to(dtype)
    maps, text = torch.randn(6, 20, 64).to(dtype), torch.randn(2, tokens, 48).to(dtype)
    exact = copy.deepcopy(layer).double()(maps.double(), text.double().repeat_interleave(3, 0))
    off: list[float] = []
    for padded in (False, True):
        layer.set_processor(CachedText(padded=padded))
        with torch.inference_mode():
            off.append(float((layer(maps, text) - exact).abs().max()))
    assert off[1] < (1e-6 if dtype == torch.float32 else 1.2 * off[0])


def test_a_hook_that_changes_nothing_changes_no_bit() -> None:
    torch.manual_seed(0)
    layer = Attention(64, cross_attention_dim=48, heads=2, dim_head=32).eval()
    layer.set_processor(CachedText(padded=True))
    maps, text = torch.randn(6, 20, 64), torch.randn(2, 77, 48)
    with torch.inference_mode():
        alone = layer(maps, text)
        assert layer.to_k is not None
        layer.to_k.register_forward_hook(lambda _layer, _inputs, made: made)
        assert torch.equal(layer(maps, text), alone)


def test_half_the_batch_is_enough_before_the_text(animated: AnimatedUNet) -> None:
    seen: dict[str, int] = {}
    first = animated.unet.down_blocks[0]
    watched = {
        "convolution": animated.unet.conv_in,
        "resnet": first.resnets[0].conv1,
        "query": first.attentions[0].transformer_blocks[0].attn1.to_q,
        "text query": first.attentions[0].transformer_blocks[0].attn2.to_q,
    }
    handles = [
        layer.register_forward_hook(
            lambda _, args, out, name=name: seen.__setitem__(name, len(out))
        )
        for name, layer in watched.items()
        if name != "convolution"
    ]
    plain, fast = both(animated, inputs())
    assert_near(plain, fast)
    assert seen == {"resnet": 4, "query": 4, "text query": 8}
    both(animated, inputs(equal=False))
    assert seen == {"resnet": 8, "query": 8, "text query": 8}
    for handle in handles:
        handle.remove()


def scales_of_frames(animated: AnimatedUNet, stack: ExitStack) -> None:
    torch.manual_seed(4)
    adapter = attach_domain_adapter(animated.unet, rank=2)
    for branch in adapter.parameters():
        nn.init.normal_(branch, std=0.1)
    stack.callback(adapter.remove)
    stack.enter_context(adapter.grafts.over_frames(torch.tensor([0.0, 0.5, 1.0, 2.0])))


def freed(animated: AnimatedUNet, stack: ExitStack) -> None:
    factors = replace(SD15)
    stack.callback(FreeU(animated.unet, factors).remove)


def shown_a_picture(animated: AnimatedUNet, stack: ExitStack) -> None:
    torch.manual_seed(5)
    branches = [
        ImageAttention(64, host.inner_dim).requires_grad_(False)
        for host in cross_attentions(animated.unet)
    ]
    prompt = ImagePrompt(animated.unet, branches)
    prompt.images = ImageTokens(torch.randn(8, 4, 64), torch.linspace(0, 1, 8))
    stack.callback(prompt.remove)


def blind(animated: AnimatedUNet, stack: ExitStack) -> None:
    stack.enter_context(perturbed(animated.unet))


def less_motion(animated: AnimatedUNet, stack: ExitStack) -> None:
    stack.enter_context(animated.grafts.at(0.5))


def hooked_first_convolution(animated: AnimatedUNet, stack: ExitStack) -> None:
    rows = torch.arange(8.0).view(8, 1, 1, 1)
    handle = animated.unet.conv_in.register_forward_hook(lambda _, args, out: out + 0.1 * rows)
    stack.callback(handle.remove)


@pytest.mark.parametrize(
    "attach",
    [scales_of_frames, freed, shown_a_picture, blind, less_motion, hooked_first_convolution],
)
def test_paths_step_aside_for_what_is_attached(
    attach: Callable[[AnimatedUNet, ExitStack], None],
) -> None:
    animated, given = animated_of(), inputs()
    alone = predicted(animated, given)
    with ExitStack() as stack:
        attach(animated, stack)
        plain = predicted(animated, given)
    drawing = Drawing(animated, ALL)
    with ExitStack() as stack:
        attach(animated, stack)
        fast = predicted(animated, given)
    drawing.remove()
    assert_near(plain, fast)
    assert float((plain - alone).abs().max()) > 1e-3


def test_a_decoder_draws_the_same_pictures_and_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(128, 128),
        layers_per_block=1,
        norm_num_groups=4,
    ).eval()
    latents = torch.randn(2, 4, 6, 8)
    with torch.inference_mode():
        plain = vae.decode(latents, return_dict=False)[0]
        fast = decode_fast(vae.decoder, Runtime(device="cpu"))
        assert len(fast) >= 8
        assert_near(plain, vae.decode(latents, return_dict=False)[0])
        fast.remove()
        assert torch.equal(plain, vae.decode(latents, return_dict=False)[0])


@pytest.mark.parametrize("size", [(8, 8), (2, 6), (16, 4)])
@pytest.mark.parametrize("block", [1, 1 << 12, 1 << 22])
@pytest.mark.parametrize("product", [by_torch, by_onednn])
def test_winograd_is_the_convolution(
    size: tuple[int, int], block: int, product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "BLOCK", block)
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 24, *size, generator=draw)
    weight = torch.randn(40, 24, 3, 3, generator=draw) * (9 * 24) ** -0.5
    bias = torch.randn(40, generator=draw)
    exact = nn.functional.conv2d(maps.double(), weight.double(), bias.double(), padding=1)
    with torch.inference_mode():
        found = convolved(maps, weight, bias, product=product)
    assert float((found - exact).abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(
                not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
                reason="oneDNN multiplies bf16 matrices with AVX-512 and newer only",
            ),
        ),
    ],
)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (4, 6), (5, 3)])
def test_small_maps_are_convolved_by_one_product(
    size: tuple[int, int], stride: int, dtype: torch.dtype
) -> None:
    draw = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(128, 136, 3, padding=1, stride=stride).to(dtype).requires_grad_(False)
    layer.weight.normal_(std=(9 * 128) ** -0.5, generator=draw)
    maps = torch.randn(3, 128, *size, generator=draw).to(dtype)
    exact = nn.functional.conv2d(
        maps.double(), layer.weight.double(), layer.bias.double(), padding=1, stride=stride
    )
    replaced = multiply_small_maps(nn.ModuleList([layer]))
    assert len(replaced) == 1
    with torch.inference_mode():
        found = layer(maps)
        replaced.remove()
        direct = layer(maps)
    off = [float((each - exact).abs().max()) for each in (found, direct)]
    assert off[0] <= max(1.05 * off[1], TOLERANCE)


def test_narrow_maps_are_upsampled_as_before() -> None:
    layer = Upsample2D(8, use_conv=True).requires_grad_(False)
    seen: list[int] = []
    assert isinstance(layer.conv, nn.Conv2d)
    forward = layer.conv.forward
    layer.conv.forward = lambda maps: (seen.append(maps.shape[-1]), forward(maps))[1]
    fold_upsampling(nn.ModuleList([layer]), narrowest=6)
    with torch.inference_mode():
        for width in (4, 5, 6, 16):
            layer(torch.randn(1, 8, 4, width))
    assert seen == [8, 10]


def test_large_maps_are_convolved_as_before() -> None:
    layer = nn.Conv2d(128, 128, 3, padding=1).requires_grad_(False)
    seen: list[int] = []
    forward = layer.forward
    layer.forward = lambda maps: (seen.append(maps.shape[-1]), forward(maps))[1]
    multiply_small_maps(nn.ModuleList([layer]))
    with torch.inference_mode():
        for width in (4, 7, 8, 16):
            layer(torch.randn(1, 128, 4, width))
    assert seen == [8, 16]


def test_small_maps_in_half_precision_are_for_processors_with_amx(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = Runtime(device="cpu", precision="bf16")
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"amx_bf16": has})
        assert ("small-maps" in plan_drawing(runtime)) == has
        assert "small-maps" in plan_drawing(replace(runtime, precision="fp32"))


def test_a_map_in_another_layout_gets_no_copies_of_the_weight() -> None:
    maps = torch.randn(2, 64, 4, 5).permute(0, 2, 3, 1)
    weight = torch.randn(96, 64)
    with torch.profiler.profile(record_shapes=True) as profiled, torch.inference_mode():
        found = by_torch(maps, weight, None)
    assert_near(found, maps @ weight.T)
    copied = [event for event in profiled.events() if event.name == "aten::bmm"]
    assert not copied


def test_bf16_is_no_farther_from_fp32_than_without_fast_paths() -> None:
    animated, given = animated_of(), inputs()
    exact = predicted(animated, given)
    animated.to(torch.bfloat16)
    given = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in given.items()
    }
    runtime = Runtime(device="cpu", precision="bf16")
    plain, fast = both(animated, given, plan_drawing(runtime))
    off = [float((each.float() - exact).square().mean().sqrt()) for each in (plain, fast)]
    assert off[1] < 1.1 * off[0]


def test_a_runtime_leaves_out_what_it_is_told_to() -> None:
    runtime = Runtime(device="cpu", precision="fp32")
    assert "convolution" in plan_drawing(runtime)
    assert "text" not in plan_drawing(replace(runtime, without=frozenset(("text",))))
    assert "convolution" not in plan_drawing(replace(runtime, precision="bf16"))


def test_the_library_is_measured_once_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    found: list[str] = []
    monkeypatch.setattr(
        "animatediff.model.fast.linear_library.user_cache_path", lambda _: tmp_path / "cache"
    )
    monkeypatch.setattr(
        "animatediff.model.fast.linear_library.measured",
        lambda dtype: (found.append(str(dtype)), "torch")[1],
    )
    for _ in range(2):
        fastest_library.cache_clear()
        assert fastest_library(torch.float32) == "torch"
    assert found == ["torch.float32"]
    fastest_library.cache_clear()
