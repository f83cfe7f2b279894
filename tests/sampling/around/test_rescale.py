"""Guidance rescale, from one field of a request to the prediction it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.guidance import classifier_free
from animatediff.sampling.around.rescale import rescaled
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")


def clips() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    without, along = torch.randn(2, 1, 4, 3, 8, 8, generator=generator)
    return without, along + 0.5 * without


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_it_is_the_papers_equation(share: float) -> None:
    without, along = clips()
    ask = Ask(without, torch.tensor(500), 0, WITH_PROMPT, torch.arange(3))
    guided = without + 7.5 * (along - without)
    expected = (share * along.std() / guided.std() + (1 - share)) * guided
    made = rescaled(classifier_free(7.5), share=share)(without, along, ask)
    assert torch.allclose(made, expected, atol=1e-5)
    theirs = rescale_noise_cfg(guided, along, guidance_rescale=share)
    assert torch.allclose(made, theirs, atol=1e-5)
    if share == 1:
        assert torch.allclose(made.std(), along.std())


def test_without_it_an_animation_is_the_same_to_the_bit_and_with_it_another(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, guidance=8.0)
    plain = animator.animate(asked).latents
    assert torch.equal(animator.animate(replace(asked, guidance_rescale=0.0)).latents, plain)
    rescaled_once = animator.animate(replace(asked, guidance_rescale=0.7)).latents
    assert not torch.allclose(rescaled_once, plain, atol=1e-3)
    assert rescaled_once.std() < plain.std()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(request_of: AnimationRequest, share: float) -> None:
    with pytest.raises(InputError, match="guidance_rescale"):
        replace(request_of, guidance_rescale=share).validated()
