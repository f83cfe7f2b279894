"""The texts of a request, encoded: which rows there are, and what changes over steps and frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.ask import BOTH, WITH_PROMPT, WITHOUT_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.text import conditions
from animatediff.sampling.text.conditions import Texts, read_texts
from animatediff.sampling.text.prompts import encode_prompts

TextsOf = Callable[..., Texts]


@pytest.fixture
def texts_of(animator: Animator, request_of: AnimationRequest) -> TextsOf:
    def read(**changes: Any) -> Texts:
        asked = replace(request_of, negative_prompt="an ox", steps=4, **changes)
        return read_texts(settle(asked, animator.model), base=animator.base, words=())

    return read


@pytest.fixture
def states_of(animator: Animator) -> Callable[[str], Tensor]:
    """The states of one text by itself."""

    def encode(text: str) -> Tensor:
        (read,) = encode_prompts([text], base=animator.base, words=(), clip_skip=None)
        return read.states

    return encode


def ask(rows: slice = WITH_PROMPT, *, step: int = 0, frames: range = range(3)) -> Ask:
    clips = rows.stop - rows.start
    latents = torch.zeros(clips, 4, len(frames), 4, 4)
    return Ask(latents, torch.tensor(500), step, rows, torch.tensor(frames))


def test_a_guided_request_has_the_negative_prompt_first(
    texts_of: TextsOf, states_of: Callable[[str], Tensor]
) -> None:
    texts = texts_of()
    without, along = (texts.at(ask(rows))[0] for rows in (WITHOUT_PROMPT, WITH_PROMPT))
    assert torch.allclose(without, states_of("an ox"), atol=1e-5)
    assert torch.allclose(along, states_of("a fox"), atol=1e-5)
    assert torch.equal(texts.at(ask(BOTH))[0], torch.cat([without, along]))


def test_without_guidance_the_negative_prompt_is_not_even_encoded(
    texts_of: TextsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    guided = texts_of()
    encoded: list[str] = []

    def noted(texts: list[str], **options: Any) -> Any:
        encoded.extend(texts)
        return encode_prompts(texts, **options)

    monkeypatch.setattr(conditions, "encode_prompts", noted)
    texts = texts_of(guidance=1.0)
    assert encoded == ["a fox"]
    assert torch.allclose(texts.at(ask())[0], guided.at(ask())[0], atol=1e-5)


def test_an_edit_takes_effect_at_its_step(
    texts_of: TextsOf, states_of: Callable[[str], Tensor]
) -> None:
    texts = texts_of(prompt="a [fox:an:0.5]")
    before, after = states_of("a fox"), states_of("a an")
    assert not torch.allclose(before, after, atol=1e-2)
    for step, expected in enumerate((before, before, after, after)):
        assert torch.allclose(texts.at(ask(step=step))[0], expected, atol=1e-5), step
    # An edit of the negative prompt leaves the prompt as it is.
    texts = texts_of(prompt="a fox")
    assert len(texts.parts) == 1


def test_a_prompt_that_travels_has_a_text_for_each_frame_and_windows_take_theirs(
    texts_of: TextsOf, states_of: Callable[[str], Tensor]
) -> None:
    texts = texts_of(prompt="", prompts={"0": "a fox", "2": "an ox"}, interpolation="linear")
    fox, ox = states_of("a fox"), states_of("an ox")
    states = texts.at(ask())[0]
    assert states.shape == (1, 3, *fox.shape[1:])
    for frame, expected in enumerate((fox, (fox + ox) / 2, ox)):
        assert torch.allclose(states[:, frame], expected, atol=1e-5), frame
    assert torch.equal(texts.at(ask(frames=range(1, 3)))[0], states[:, 1:])
    # The negative prompt is the same in every frame.
    without = texts.at(ask(WITHOUT_PROMPT))[0]
    assert torch.equal(without[:, 0], without[:, 2])


def test_every_text_of_an_animation_is_as_long_as_the_longest(texts_of: TextsOf) -> None:
    short, long = texts_of(), texts_of(prompt="a fox " * 60)
    assert short.at(ask(BOTH))[0].shape == (2, 77, 32)
    assert long.at(ask(BOTH))[0].shape == (2, 2 * 77, 32)


def test_texts_are_read_in_the_precision_of_the_model(texts_of: TextsOf) -> None:
    texts = texts_of()
    half = texts.to(torch.float16)
    assert half.at(ask())[0].dtype == torch.float16
    assert torch.allclose(half.at(ask())[0].float(), texts.at(ask())[0], atol=1e-2)


def test_too_many_different_texts_are_refused(
    texts_of: TextsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "MAX_TEXTS", 2)
    texts_of()  # the prompt and the negative prompt
    with pytest.raises(InputError, match="is 3 different texts, and at most 2 can be"):
        texts_of(prompt="a [fox:an:0.5]")
