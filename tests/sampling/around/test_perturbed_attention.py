"""Perturbed-attention guidance: the paper's sum, on spatial attention alone, off without a trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.around.perturbed_attention import (
    OwnValue,
    away_from_perturbed,
    perturbed,
)
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")


@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_it_is_the_papers_sum(animator: Animator, guidance: float) -> None:
    """u + s (c - u) + p (c - perturbed c)."""
    unet = animator.base.unet
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 3, 4, 4, generator=generator)
    answers = {name: torch.randn(latents.shape, generator=generator) for name in "ucp"}

    def model(ask: Ask) -> Tensor:
        is_perturbed = any(isinstance(p, OwnValue) for p in unet.attn_processors.values())
        if is_perturbed:
            return answers["p"]
        rows = [answers["u"], answers["c"]][ask.rows]
        return torch.cat(rows)

    ask = Ask(latents, torch.tensor(500), 0, WITH_PROMPT, torch.arange(3))
    inside = away_from_perturbed(model, unet=unet, scale=3.0, guidance=guidance)
    outside = guided(inside, guidance=classifier_free(guidance)) if guidance != 1 else inside
    u, c, p = answers.values()
    base = u + guidance * (c - u) if guidance != 1 else c
    assert torch.allclose(outside(ask), base + 3.0 * (c - p), atol=1e-4)


def test_only_the_middle_blocks_spatial_self_attention_is_perturbed(animator: Animator) -> None:
    unet = animator.base.unet
    before = dict(unet.attn_processors)
    with perturbed(unet):
        changed = {
            name for name, each in unet.attn_processors.items() if isinstance(each, OwnValue)
        }
    assert changed
    assert all(name.startswith("mid_block") and ".attn1." in name for name in changed)
    assert unet.attn_processors == before


def test_identity_maps_give_each_token_its_own_value(animator: Animator) -> None:
    attn = animator.base.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    tokens = torch.randn(2, 5, attn.to_q.in_features)
    with torch.inference_mode():
        assert torch.equal(OwnValue()(attn, tokens), attn.to_out[0](attn.to_v(tokens)))


def test_scale_zero_is_the_same_to_the_bit_and_another_is_not(
    animator: Animator, request_of: AnimationRequest
) -> None:
    plain = animator.animate(request_of).latents
    off = replace(request_of, perturbed_attention=0.0)
    assert torch.equal(animator.animate(off).latents, plain)
    on = replace(request_of, perturbed_attention=3.0)
    assert not torch.equal(animator.animate(on).latents, plain)
    assert torch.equal(animator.animate(request_of).latents, plain)


def test_it_is_refused_where_guidance_is_zero(request_of: AnimationRequest) -> None:
    with pytest.raises(InputError, match="--pag"):
        replace(request_of, perturbed_attention=3.0, guidance=0).validated()


def test_free_u_changes_an_animation_and_leaves_nothing_behind(
    animator: Animator, request_of: AnimationRequest
) -> None:
    plain = animator.animate(request_of).latents
    changed = animator.animate(replace(request_of, free_u="v2")).latents
    assert not torch.equal(changed, plain)
    assert torch.equal(animator.animate(request_of).latents, plain)
