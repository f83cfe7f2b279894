"""The domain adapter: where it sits, how large it is, and that it can be left out."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from animatediff.errors import InputError
from animatediff.model import AnimatedUNet, attach_domain_adapter


def test_the_adapter_of_stable_diffusion_has_the_published_size(real_unet):
    adapter = attach_domain_adapter(real_unet("sd15"), rank=128)
    assert sum(p.numel() for p in adapter.parameters()) == 199_296 * 128
    assert len(adapter.grafts) == 16 * 2 * 4


def test_domain_adapter_at_scale_zero_is_the_base_model(small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet())
    expected = animated(**inputs)
    adapter = randomised(attach_domain_adapter(animated.unet, rank=2))
    assert not torch.allclose(animated(**inputs), expected, atol=1e-2)
    adapter.scale = 0.0
    assert torch.equal(animated(**inputs), expected)


def test_a_fresh_or_removed_adapter_is_the_base_model(small_unet, inputs, randomised):
    animated = AnimatedUNet(small_unet())
    expected = animated(**inputs)
    adapter = attach_domain_adapter(animated.unet, rank=2)
    assert torch.equal(animated(**inputs), expected)
    randomised(adapter).remove()
    assert torch.equal(animated(**inputs), expected)


def test_the_scale_is_linear_in_the_projections(small_unet, randomised):
    unet = small_unet()
    projection = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    x = torch.randn(3, 64)
    plain = projection(x)
    adapter = randomised(attach_domain_adapter(unet, rank=2))
    whole = projection(x) - plain
    adapter.scale = 0.25
    torch.testing.assert_close(projection(x) - plain, 0.25 * whole, atol=1e-5, rtol=1e-5)


def test_only_the_adapter_gets_gradients(small_unet, inputs):
    animated = AnimatedUNet(small_unet())
    animated.requires_grad_(False)
    adapter = attach_domain_adapter(animated.unet, rank=2)
    animated(**inputs).square().mean().backward()
    ups = [p.grad for name, p in adapter.named_parameters() if ".up." in name]
    assert all(g.isfinite().all() for g in ups)
    assert any(g.any() for g in ups)
    assert all(p.grad is None for p in animated.parameters())


def test_weights_are_named_after_the_image_model_s_layers(small_unet):
    unet = small_unet()
    keys = list(unet.state_dict())
    weights = attach_domain_adapter(unet, rank=2).state_dict()
    path = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    assert weights[f"{path}.down.weight"].shape == (2, 16)
    assert {name.rsplit(".", 2)[0] + ".weight" for name in weights} <= set(keys)
    assert list(unet.state_dict()) == keys


def test_a_model_without_attention_is_an_error():
    unet = UNet2DConditionModel(
        block_out_channels=(32,),
        down_block_types=("DownBlock2D",),
        mid_block_type=None,
        up_block_types=("UpBlock2D",),
        norm_num_groups=8,
    )
    with pytest.raises(InputError, match="no layer to graft on"):
        attach_domain_adapter(unet, rank=2)


def test_the_representation_says_what_matters(small_unet):
    adapter = attach_domain_adapter(small_unet(), rank=2, scale=0.5)
    assert repr(adapter) == "LowRankSet(rank 2; 56 grafts, attached, scale 0.5)"
