"""Image prompts: equal to diffusers' where it can do the same, and each frame its own."""

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from animatediff.errors import InputError
from animatediff.model.image_prompts.attention import (
    ImageAttention,
    ImagePrompt,
    ImageTokens,
    cross_attentions,
    load_branches,
)
from animatediff.model.image_prompts.projections import LinearProjection, PatchProjection, Resampler

CROSS, FEATURES, PATCHES, FRAMES = 32, 24, 5, 3


def new_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=CROSS,
        attention_head_dim=4,
    )
    return unet.requires_grad_(False).eval()


def new_projection(form: str) -> torch.nn.Module:
    torch.manual_seed(1)
    if form == "base":
        return LinearProjection(FEATURES, cross=CROSS, tokens=4)
    if form == "full":
        return PatchProjection(FEATURES, cross=CROSS)
    return Resampler(FEATURES, cross=CROSS, width=128, heads=2, depth=4, tokens=6)


def new_weights(unet: UNet2DConditionModel) -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    weights = {}
    for index, host in enumerate(cross_attentions(unet)):
        for name in ("to_k_ip.weight", "to_v_ip.weight"):
            weights[f"{2 * index + 1}.{name}"] = torch.randn(host.inner_dim, CROSS) / 4
    return weights


def attach(unet, weights, *, layer_weights=None) -> ImagePrompt:
    branches = load_branches(weights, unet, device=torch.device("cpu"))
    return ImagePrompt(unet, branches, layer_weights=layer_weights)


@pytest.fixture
def inputs():
    torch.manual_seed(3)
    return torch.randn(FRAMES, 4, 8, 8), torch.tensor(500), torch.randn(FRAMES, 7, CROSS)


def tokens_of(*seeds: int) -> torch.Tensor:
    return torch.stack(
        [torch.randn(4, CROSS, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def run(unet, inputs, prompt=None, images=None):
    if prompt is not None:
        prompt.images = images
    with torch.inference_mode():
        return unet(*inputs, return_dict=False)[0]


@pytest.mark.parametrize("form", ["base", "plus", "full"])
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_one_image_for_all_frames_equals_diffusers(form, scale, inputs):
    ours, theirs = new_unet(), new_unet()
    projection, weights = new_projection(form), new_weights(ours)
    shape = (1, FEATURES) if form == "base" else (1, PATCHES, FEATURES)
    features = torch.randn(shape, generator=torch.Generator().manual_seed(4))

    theirs._load_ip_adapter_weights(
        [{"image_proj": projection.state_dict(), "ip_adapter": weights}], low_cpu_mem_usage=False
    )
    for processor in theirs.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]
    with torch.inference_mode():
        expected = theirs(
            *inputs,
            added_cond_kwargs={"image_embeds": [features.expand(FRAMES, *shape[1:])[:, None]]},
            return_dict=False,
        )[0]
        tokens = projection(features)
    prompt = attach(ours, weights)
    got = run(ours, inputs, prompt, ImageTokens(tokens, torch.full((FRAMES,), scale)))
    assert (expected - run(ours, inputs, prompt)).abs().max() > 1e-2
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_each_frame_attends_to_its_own_image_and_scale(inputs):
    unet = new_unet()
    prompt = attach(unet, new_weights(unet))
    scales = torch.tensor([1.0, 0.3, 0.0])
    together = run(unet, inputs, prompt, ImageTokens(tokens_of(1, 2, 3), scales))
    for frame in range(FRAMES):
        one = [x[frame : frame + 1] if x.ndim else x for x in inputs]
        images = ImageTokens(tokens_of(frame + 1), scales[frame : frame + 1])
        alone = run(unet, one, prompt, images)
        torch.testing.assert_close(together[frame : frame + 1], alone, atol=1e-5, rtol=1e-4)


def test_scale_zero_no_images_and_removal_are_the_model_bit_for_bit(inputs):
    unet = new_unet()
    plain = run(unet, inputs)
    prompt = attach(unet, new_weights(unet))
    assert torch.equal(run(unet, inputs, prompt), plain)
    images = ImageTokens(tokens_of(1), torch.zeros(FRAMES))
    assert torch.equal(run(unet, inputs, prompt, images), plain)
    moved = run(unet, inputs, prompt, ImageTokens(tokens_of(1), torch.ones(FRAMES)))
    assert not torch.equal(moved, plain)
    prompt.remove()
    assert not prompt.attached
    assert torch.equal(run(unet, inputs, prompt, images), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def test_two_prompts_add_up_in_any_order(inputs):
    outputs = []
    for order in ((1, 2), (2, 1)):
        unet = new_unet()
        weights = new_weights(unet)
        for seed in order:
            prompt = attach(unet, weights)
            prompt.images = ImageTokens(tokens_of(seed), torch.full((FRAMES,), 0.5))
        outputs.append(run(unet, inputs))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-4)


def test_a_mask_of_ones_is_none_and_of_zeros_is_the_plain_model(inputs):
    unet = new_unet()
    plain = run(unet, inputs)
    prompt = attach(unet, new_weights(unet))
    scales = torch.ones(FRAMES)
    whole = run(unet, inputs, prompt, ImageTokens(tokens_of(1), scales))
    ones = ImageTokens(tokens_of(1), scales, torch.ones(1, 16, 16))
    torch.testing.assert_close(run(unet, inputs, prompt, ones), whole, atol=1e-6, rtol=1e-5)
    zeros = ImageTokens(tokens_of(1), scales, torch.zeros(FRAMES, 16, 16))
    torch.testing.assert_close(run(unet, inputs, prompt, zeros), plain, atol=1e-6, rtol=1e-5)


def test_a_mask_counts_where_it_is_and_for_its_frame():
    layer = ImageAttention(CROSS, 64)
    query = torch.randn(2, 8 * 4, 64)
    mask = torch.zeros(2, 32, 16)
    mask[0, :16] = 1  # the upper half of the first frame
    tokens = tokens_of(1, 2)
    with torch.inference_mode():
        got = layer(query, ImageTokens(tokens, torch.ones(2), mask), heads=4, weight=1)
        everywhere = layer(query, ImageTokens(tokens, torch.ones(2)), heads=4, weight=1)
    upper = got[0].reshape(8, 4, 64)
    torch.testing.assert_close(upper[:3], everywhere[0].reshape(8, 4, 64)[:3])
    assert (upper[5:] == 0).all()
    assert (got[1] == 0).all()


def test_a_layer_of_weight_zero_is_left_out(inputs):
    unet = new_unet()
    plain = run(unet, inputs)
    count = len(list(cross_attentions(unet)))
    prompt = attach(unet, new_weights(unet), layer_weights=[0.0] * count)
    images = ImageTokens(tokens_of(1), torch.ones(FRAMES))
    assert torch.equal(run(unet, inputs, prompt, images), plain)


def test_the_layers_stand_in_the_order_of_the_published_files():
    """Down, up, mid: 16 in Stable Diffusion 1.5, where numbers of every attention are 1, 3, ..., 31."""
    unet = new_unet()
    processors = [name for name in unet.attn_processors if "attn2" in name]
    expected = [unet.get_submodule(name.removesuffix(".processor")) for name in processors]
    assert [id(layer) for layer in cross_attentions(unet)] == [id(layer) for layer in expected]


def test_branches_of_another_model_are_refused():
    unet = new_unet()
    branches = load_branches(new_weights(unet), unet, device=torch.device("cpu"))
    with pytest.raises(InputError, match="attention layers"):
        ImagePrompt(unet, branches[:-1])
