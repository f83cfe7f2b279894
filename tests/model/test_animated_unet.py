"""Inflation: what it leaves alone, and what it computes."""

import copy
from collections import Counter

import pytest
import torch
from einops import rearrange, repeat
from torch import nn

from animatediff.errors import InputError
from animatediff.model import AnimatedUNet, MotionModule, TemporalConv, motion_sites

VARIANTS = {
    "v1": {"resnet_norm_scope": "video"},
    "v2": {"mid": True},
    "v3": {},
    "sdxl": {"norm_scope": "video"},
    "rival": {"branch": "convolution"},
}


def image_by_image(unet, inputs):
    """The plain U-Net on the folded batch, in the shape of a video."""
    latents = inputs["latents"]
    frames = latents.shape[2]
    extra = inputs.get("added_cond_kwargs")
    noise = unet(
        rearrange(latents, "b c f h w -> (b f) c h w"),
        repeat(inputs["timestep"], "b -> (b f)", f=frames),
        repeat(inputs["encoder_hidden_states"], "b n d -> (b f) n d", f=frames),
        added_cond_kwargs=extra
        and {name: repeat(value, "b d -> (b f) d", f=frames) for name, value in extra.items()},
    ).sample
    return rearrange(noise, "(b f) c h w -> b c f h w", f=frames)


def with_sdxl_conditions(inputs):
    generator = torch.Generator().manual_seed(3)
    return inputs | {
        "added_cond_kwargs": {
            "text_embeds": torch.randn(2, 16, generator=generator),
            "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
        }
    }


# Where and how many


@pytest.mark.parametrize(
    ("name", "mid", "sites", "parameters"),
    [
        ("sd15", False, {320: 5, 640: 5, 1280: 10}, 417_137_600),
        ("sd15", True, {320: 5, 640: 5, 1280: 11}, 453_209_280),
        ("sdxl", False, {320: 5, 640: 5, 1280: 5}, 236_779_200),
    ],
    ids=["versions 1 and 3", "version 2", "SDXL beta"],
)
def test_sites_and_parameters_are_those_of_the_published_models(
    name, mid, sites, parameters, real_unet
):
    unet = real_unet(name)
    animated = AnimatedUNet(unet, mid=mid)
    assert Counter(site.channels for site in motion_sites(unet, mid=mid)) == sites
    assert len(animated.grafts) == sum(sites.values())
    assert sum(p.numel() for p in animated.motion.parameters()) == parameters


def test_real_configurations_have_the_published_numbers_of_parameters(real_unet):
    count = {n: sum(p.numel() for p in real_unet(n).parameters()) for n in ("sd15", "sdxl")}
    assert count == {"sd15": 859_520_964, "sdxl": 2_567_463_684}


def test_a_site_is_the_attention_or_the_resnet_where_there_is_none(real_unet):
    sites = {site.name: site.layer for site in motion_sites(real_unet("sd15"), mid=True)}
    kinds = {name: type(layer).__name__ for name, layer in sites.items()}
    assert kinds["down_0_0"] == kinds["up_1_2"] == kinds["mid_0"] == "Transformer2DModel"
    assert kinds["down_3_1"] == kinds["up_0_0"] == "ResnetBlock2D"
    assert list(sites)[:2] == ["down_0_0", "down_0_1"]


def test_a_middle_site_needs_attention_in_the_middle_block(small_unet):
    unet = small_unet()
    unet.mid_block = None
    with pytest.raises(InputError, match="no attention in its middle block"):
        AnimatedUNet(unet, mid=True)


# What is left alone


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("variant", ["v2", "v3", "sdxl", "rival"])
def test_fresh_motion_modules_leave_every_frame_as_the_image_model_draws_it(
    variant, memory, small_unet, inputs
):
    unet = small_unet().to(memory_format=memory)
    expected = image_by_image(unet, inputs)
    actual = AnimatedUNet(unet, **VARIANTS[variant])(**inputs)
    assert torch.equal(actual, expected)


def test_a_fresh_animated_sdxl_is_sdxl(small_unet, inputs):
    unet, inputs = small_unet(sdxl=True), with_sdxl_conditions(inputs)
    expected = image_by_image(unet, inputs)
    assert torch.equal(AnimatedUNet(unet, **VARIANTS["sdxl"])(**inputs), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_removing_every_graft_restores_the_image_model_bit_for_bit(
    variant, small_unet, inputs, randomised
):
    unet = small_unet()
    expected = image_by_image(unet, inputs)
    animated = AnimatedUNet(unet, **VARIANTS[variant])
    randomised(animated.motion)
    assert not torch.allclose(animated(**inputs), expected, atol=1e-2)
    animated.remove()
    assert torch.equal(image_by_image(unet, inputs), expected)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_image_model_keeps_its_names_and_its_weights(variant, small_unet, inputs, randomised):
    unet = small_unet()
    before = copy.deepcopy(unet.state_dict())
    animated = AnimatedUNet(unet, **VARIANTS[variant])
    randomised(animated.motion)
    animated(**inputs)
    after = unet.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_motion_scale_of_zero_is_the_image_model(small_unet, inputs, randomised):
    unet = small_unet()
    expected = image_by_image(unet, inputs)
    animated = AnimatedUNet(unet)
    randomised(animated.motion)
    animated.set_motion_scale(0.0)
    assert torch.equal(animated(**inputs), expected)


# What is computed


class FrameNorm(nn.Module):
    """A GroupNorm of the image model over all frames, by definition."""

    def __init__(self, norm, reference, frames):
        super().__init__()
        self.norm, self.reference, self.frames = norm, reference, frames

    def forward(self, x):
        video = rearrange(x, "(b f) c h w -> b c f h w", f=self.frames)
        n = self.norm
        normed = self.reference.over_groups(video, n.weight, n.bias, groups=n.num_groups, eps=n.eps)
        return rearrange(normed, "b c f h w -> (b f) c h w")


def replace_norms(module, reference, frames):
    for name, child in module.named_children():
        if name in {"norm1", "norm2", "conv_norm_out"} and isinstance(child, nn.GroupNorm):
            setattr(module, name, FrameNorm(child, reference, frames))
        else:
            replace_norms(child, reference, frames)


def add_motion(layer, weights, reference, frames, scope):
    """The layer, followed by the reference motion: its method is replaced, no hook is used."""
    forward = layer.forward

    def animated(x, *args, **options):
        y = forward(x, *args, **options)
        sample = y[0] if isinstance(y, tuple) else y
        video = rearrange(sample, "(b f) c h w -> b c f h w", f=frames)
        video = video + reference.motion(video, weights, heads=8, groups=8, scope=scope)
        sample = rearrange(video, "b c f h w -> (b f) c h w")
        return (sample,) if isinstance(y, tuple) else sample

    layer.forward = animated


@pytest.mark.parametrize("variant", ["v1", "v2", "v3", "sdxl"])
def test_the_whole_model_is_the_published_mathematics(
    variant, small_unet, inputs, reference, randomised
):
    sdxl = variant == "sdxl"
    inputs = with_sdxl_conditions(inputs) if sdxl else inputs
    options = VARIANTS[variant]
    animated = AnimatedUNet(small_unet(sdxl=sdxl), **options)
    randomised(animated.motion, std=0.1)
    plain = small_unet(sdxl=sdxl)
    if options.get("resnet_norm_scope") == "video":
        replace_norms(plain, reference, frames=5)
    for side, blocks in (("down", plain.down_blocks), ("up", plain.up_blocks)):
        for i, block in enumerate(blocks):
            layers = block.attentions if hasattr(block, "attentions") else block.resnets
            for j, layer in enumerate(layers):
                weights = animated.motion[f"{side}_{i}_{j}"].state_dict()
                add_motion(layer, weights, reference, 5, options.get("norm_scope", "frame"))
    if options.get("mid"):
        weights = animated.motion["mid_0"].state_dict()
        add_motion(plain.mid_block.attentions[0], weights, reference, 5, "frame")
    with torch.no_grad():
        actual, expected = animated(**inputs), image_by_image(plain, inputs)
    torch.testing.assert_close(actual, expected, atol=1e-5 * float(expected.std()), rtol=1e-5)


def test_the_middle_block_attends_then_moves_then_convolves(small_unet, inputs, randomised):
    unet = small_unet()
    animated = AnimatedUNet(unet, mid=True)
    order = []
    for name, layer in {
        "resnet 0": unet.mid_block.resnets[0],
        "attention": unet.mid_block.attentions[0],
        "motion": animated.motion["mid_0"],
        "resnet 1": unet.mid_block.resnets[1],
    }.items():
        layer.register_forward_pre_hook(lambda *_, name=name: order.append(name))
    animated(**inputs)
    assert order == ["resnet 0", "attention", "motion", "resnet 1"]


def test_one_frame_still_goes_through_the_motion_modules(small_unet, inputs, randomised):
    unet = small_unet()
    still = inputs | {"latents": inputs["latents"][:, :, :1]}
    expected = image_by_image(unet, still)
    animated = AnimatedUNet(unet)
    randomised(animated.motion)
    assert not torch.allclose(animated(**still), expected, atol=1e-2)


# Conditions


def test_text_and_time_may_be_given_per_clip_or_per_frame(small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet())
    randomised(animated.motion)
    text, time = inputs["encoder_hidden_states"], inputs["timestep"]
    expected = animated(**inputs)
    for shape in ("b n d -> b f n d", "b n d -> (b f) n d"):
        per_frame = inputs | {"encoder_hidden_states": repeat(text, shape, f=5)}
        assert torch.equal(animated(**per_frame), expected)
    per_frame = inputs | {"timestep": repeat(time, "b -> b f", f=5)}
    assert torch.equal(animated(**per_frame), expected)


def test_one_time_is_shared_by_all(small_unet, inputs):
    animated = AnimatedUNet(small_unet())
    expected = animated(**inputs | {"timestep": torch.tensor([7, 7])})
    for time in (7, torch.tensor(7), torch.tensor([7])):
        torch.testing.assert_close(animated(**inputs | {"timestep": time}), expected)


def test_conditions_for_another_number_of_clips_are_an_error(small_unet, inputs):
    animated = AnimatedUNet(small_unet())
    with pytest.raises(InputError, match="encoder_hidden_states has 3 rows, but there are 2 clips"):
        animated(**inputs | {"encoder_hidden_states": torch.zeros(3, 7, 16)})
    with pytest.raises(InputError, match="timestep has 3 rows"):
        animated(**inputs | {"timestep": torch.tensor([1, 2, 3])})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_compute_in_half_precision(dtype, small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet().to(dtype))
    assert {p.dtype for p in animated.motion.parameters()} == {dtype}
    randomised(animated.motion, std=0.05)
    halved = inputs | {k: inputs[k].to(dtype) for k in ("latents", "encoder_hidden_states")}
    with torch.no_grad():
        noise = animated(**halved)
    assert noise.dtype == dtype
    assert noise.isfinite().all()


# Learning


def gradients(animated, inputs):
    animated.zero_grad()
    animated(**inputs).square().mean().backward()
    return {name: p.grad for name, p in animated.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("variant", "memory"),
    [
        *((variant, torch.contiguous_format) for variant in VARIANTS),
        *((variant, torch.channels_last) for variant in ("v1", "rival")),
    ],
)
def test_only_motion_gets_gradients(variant, memory, small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet().to(memory_format=memory), **VARIANTS[variant])
    randomised(animated.motion, std=0.1)
    found = gradients(animated, inputs)
    assert set(found) == {f"motion.{name}" for name in animated.motion_state_dict()}
    assert all(g is not None and g.isfinite().all() and g.any() for g in found.values())
    assert all(p.grad is None for p in animated.unet.parameters())


def test_a_fresh_model_learns_through_its_last_projections_first(small_unet, inputs):
    found = gradients(AnimatedUNet(small_unet()), inputs)
    assert {name.split(".")[2] for name, g in found.items() if g.any()} == {"proj_out"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_checkpointing_gives_the_same_gradients(variant, small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet(), **VARIANTS[variant]).train()
    randomised(animated.motion, std=0.1)
    plain = gradients(animated, inputs)
    animated.set_gradient_checkpointing(True)
    assert animated.grafts.checkpointed
    checkpointed = gradients(animated, inputs)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-4)
    animated.set_gradient_checkpointing(False)
    assert not any(getattr(m, "gradient_checkpointing", False) for m in animated.modules())


def test_training_under_bfloat16_autocast_works_in_channels_last(small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet().to(memory_format=torch.channels_last))
    randomised(animated.motion, std=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = animated(**inputs).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() for p in animated.motion.parameters())


# Weights


def test_motion_weights_round_trip(small_unet, inputs, randomised):
    source = AnimatedUNet(small_unet(), mid=True)
    randomised(source.motion)
    weights = source.motion_state_dict()
    assert "down_0_0.transformer_blocks.0.attention_blocks.1.to_out.0.bias" in weights
    target = AnimatedUNet(small_unet(), mid=True)
    target.load_motion_state_dict(weights)
    assert torch.equal(target(**inputs), source(**inputs))


def test_motion_made_on_the_meta_device_takes_its_weights_from_a_file(
    small_unet, inputs, randomised
):
    source = AnimatedUNet(small_unet())
    randomised(source.motion)
    target = AnimatedUNet(small_unet(), device="meta")
    assert all(p.is_meta for p in target.motion.parameters())
    target.load_motion_state_dict({k: v.double() for k, v in source.motion_state_dict().items()})
    assert {p.dtype for p in target.motion.parameters()} == {torch.float32}
    assert torch.equal(target(**inputs), source(**inputs))


def test_motion_weights_with_a_wrong_name_are_refused(small_unet):
    animated = AnimatedUNet(small_unet())
    weights = animated.motion_state_dict()
    weights["down_9_0.norm.weight"] = weights.pop("down_0_0.norm.weight")
    with pytest.raises(RuntimeError, match="down_9_0"):
        animated.load_motion_state_dict(weights)


def test_a_deep_copy_is_independent(small_unet, inputs, randomised):
    unet = small_unet()
    animated = AnimatedUNet(unet, resnet_norm_scope="video")
    randomised(animated.motion)
    expected = animated(**inputs)
    twin = copy.deepcopy(animated)
    assert torch.equal(twin(**inputs), expected)
    twin.remove()
    randomised(twin.motion, seed=9)
    assert torch.equal(animated(**inputs), expected)


def test_the_representation_lists_every_graft(small_unet):
    animated = AnimatedUNet(small_unet(), mid=True)
    assert repr(animated).splitlines()[0].startswith("AnimatedUNet(UNet2DConditionModel; 10 grafts")
    assert "  mid_0: MotionModule, scale 1" in repr(animated).splitlines()
    animated.remove()
    assert "  mid_0: MotionModule, scale 1, removed" in repr(animated).splitlines()


def test_the_branch_is_chosen_by_name(small_unet):
    kinds = {
        branch: {type(m) for m in AnimatedUNet(small_unet(), branch=branch).motion.values()}
        for branch in ("transformer", "convolution")
    }
    assert kinds == {"transformer": {MotionModule}, "convolution": {TemporalConv}}


@pytest.mark.slow
def test_the_model_compiles_into_one_graph(small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet(), resnet_norm_scope="video", mid=True)
    randomised(animated.motion)
    compiled = torch.compile(animated, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs), animated(**inputs))
