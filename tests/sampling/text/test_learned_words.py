"""A textual inversion that a prompt names is used; one that nobody names is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cases import an_embedding_in_the_folders as cases
from tests.tiny_models import WIDTH

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    cases.write(folder, "easynegative", width=WIDTH)
    cases.write(folder, "of-another-model", width=WIDTH + 8)
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(folder))
    return folder


@pytest.mark.parametrize("where", ["negative_prompt", "prompt"])
def test_a_word_in_the_folders_is_read_as_its_vectors(
    models: Path, request_of: AnimationRequest, where: str
) -> None:
    named = replace(request_of, **{where: "a fox, (EasyNegative:1.2)"})
    by_name = Animator.for_request(named).animate(named)
    option = replace(named, embeddings=(str(models / "embeddings" / "easynegative.safetensors"),))
    by_option = Animator.for_request(option).animate(option)
    assert np.array_equal(by_name.video.frames, by_option.video.frames)
    (models / "embeddings" / "easynegative.safetensors").unlink()
    plain = Animator.for_request(named).animate(named)
    assert not np.array_equal(by_name.video.frames, plain.video.frames)
    assert by_name.request.embeddings == ("easynegative",)
    assert "embedding:easynegative" not in plain.report.sha256s


def test_the_request_of_a_result_makes_it_again(models: Path, request_of: AnimationRequest) -> None:
    named = replace(request_of, prompt="a fox, easynegative")
    animator = Animator.for_request(named)
    first = animator.animate(named)
    again = animator.animate(first.request)
    assert again.request == first.request
    assert np.array_equal(again.video.frames, first.video.frames)
    other = replace(request_of, prompt="a hare")  # names nothing, and needs no other animator
    assert animator.animate(other).request.embeddings == ()


def test_a_word_that_does_not_fit_the_model_is_plain_text_and_said(
    models: Path, request_of: AnimationRequest
) -> None:
    named = replace(request_of, prompt="a fox, of-another-model")
    made = Animator.for_request(named).animate(named)
    assert made.request.embeddings == ()
    assert any("'of-another-model' is read as plain text" in note for note in made.report.notes)


def test_a_word_that_no_prompt_names_is_reported(
    models: Path, request_of: AnimationRequest
) -> None:
    path = str(models / "embeddings" / "easynegative.safetensors")
    loaded = replace(request_of, prompt="a fox", embeddings=(path,))
    animator = Animator.for_request(loaded)
    notes = animator.animate(loaded).report.notes
    assert any("easynegative is not named in a prompt and changes nothing" in n for n in notes)
    negative = replace(loaded, negative_prompt="easynegative", guidance=1.0)
    notes = animator.animate(negative).report.notes
    assert any("only in the negative prompt, which a guidance of 1" in note for note in notes)
    used = replace(loaded, prompt="easynegative")
    assert not any("easynegative" in note for note in animator.animate(used).report.notes)


def test_a_marked_word_that_is_nowhere_is_reported(
    models: Path, request_of: AnimationRequest
) -> None:
    """ComfyUI's ``embedding:name`` was read as plain text, silently."""
    named = replace(request_of, prompt="a fox, (embedding:nothere:1.2), embedding:EasyNegative")
    notes = Animator.for_request(named).animate(named).report.notes
    said = [note for note in notes if "read as plain text" in note]
    assert len(said) == 1
    assert said[0].startswith("The prompt's embedding:nothere is read as plain text")
