"""Prompts joined by AND: a weighted sum of their directions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.composed import composed
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.prompt_syntax import parts_of

pytestmark = pytest.mark.usefixtures("latents_only")

OF_ROWS = torch.tensor([1.0, 3.0, 10.0, -2.0])


def rows_apart(ask: Ask) -> Tensor:
    rows = OF_ROWS[ask.rows].to(ask.latents)
    return ask.latents + rows[:, None, None, None, None]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, 0.3), (1.0, -0.5, 2.0), (1.0,)])
@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_it_is_the_papers_sum(weights: tuple[float, ...], scale: float) -> None:
    latents = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    ask = Ask(latents, torch.tensor(500), 0, WITH_PROMPT, torch.arange(3))
    inside = composed(rows_apart, weights=weights)
    predict = guided(inside, guidance=classifier_free(scale)) if scale != 1 else inside
    without, *prompts = OF_ROWS.tolist()
    difference = sum(w * (p - without) for w, p in zip(weights, prompts, strict=False))
    assert torch.allclose(predict(ask), latents + without + scale * difference, atol=1e-5)


def test_parts_and_weights_are_read_as_they_are_typed() -> None:
    assert parts_of("a fox AND a (hare:1.2) :0.5 AND [sea:sky:0.5] : -1.5") == [
        ("a fox", 1.0),
        ("a (hare:1.2)", 0.5),
        ("[sea:sky:0.5]", -1.5),
    ]
    assert parts_of("SAND ANDES at 10:30") == [("SAND ANDES at 10:30", 1.0)]
    with pytest.raises(InputError, match="at most 16"):
        parts_of(" AND ".join("x" * 17))
    with pytest.raises(InputError, match="the weight 0"):
        parts_of("a :0 AND b :0")


def test_joined_prompts_draw_what_their_sum_says(
    animator: Animator, request_of: AnimationRequest
) -> None:
    alone = animator.animate(request_of).latents
    for same in ("a fox AND an ox :0", "a fox :0.25 AND a fox :0.75"):
        made = animator.animate(replace(request_of, prompt=same)).latents
        assert torch.allclose(made, alone, atol=1e-4)
    other = animator.animate(replace(request_of, prompt="a fox AND an ox")).latents
    turned = animator.animate(replace(request_of, prompt="an ox AND a fox")).latents
    assert not torch.allclose(other, alone, atol=1e-3)
    assert torch.allclose(other, turned, atol=1e-4)


def test_keyframes_join_as_many_prompts(animator: Animator, request_of: AnimationRequest) -> None:
    asked = replace(
        request_of, prompt="", prompts={"0": "a fox AND an ox", "2": "a hare AND a cat"}
    )
    assert animator.animate(asked).latents.isfinite().all()
    with pytest.raises(InputError, match="The keyframe 2 joins other prompts"):
        animator.animate(replace(asked, prompts={"0": "a fox AND an ox", "2": "a hare"}))


def test_perturbed_and_unguided_prompts_are_joined_too(
    animator: Animator, request_of: AnimationRequest
) -> None:
    one = replace(request_of, perturbed_attention=2.0)
    same = replace(one, prompt="a fox :0.25 AND a fox :0.75")
    assert torch.allclose(animator.animate(one).latents, animator.animate(same).latents, atol=1e-4)
    one, same = (
        replace(request_of, guidance=1.0),
        replace(same, guidance=1.0, perturbed_attention=0.0),
    )
    assert torch.allclose(animator.animate(one).latents, animator.animate(same).latents, atol=1e-4)
