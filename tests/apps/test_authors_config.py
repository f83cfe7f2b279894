"""Configurations of the authors' demo are read as requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.apps.commands.animate import AnimateOptions, requests_of
from animatediff.apps.options.parsing import parse
from animatediff.errors import FileError, InputError
from animatediff.sampling.request import AnimationRequest

NEW = """
- adapter_lora_path: "models/v3_sd15_adapter.ckpt"
  adapter_lora_scale: 0.5
  inference_config: "configs/inference-v3.yaml"
  motion_module: "models/v3_sd15_mm.ckpt"
  dreambooth_path: "models/realistic.safetensors"
  lora_model_path: "models/style.safetensors"
  lora_alpha: 0.8
  seed: [13100322578370451493, 2]
  steps: 25
  guidance_scale: 8.
  W: 384
  H: 256
  L: 16
  motion_module_lora_configs:
    - path: "models/zoom-in.ckpt"
      alpha: 0.7
  prompt:
    - "a fox, best quality"
    - "an owl"
  n_prompt:
    - "blurry"
"""
OLD = """
ToonYou:
  base: ""
  path: "models/toonyou.safetensors"
  motion_module:
    - "models/mm_sd_v15.ckpt"
  seed: 10788741199826055526
  steps: 25
  guidance_scale: 7.5
  prompt: ["a girl"]
  n_prompt: [""]
"""


def requests(*words: str) -> list[AnimationRequest]:
    return requests_of(parse(AnimateOptions, words, command="animate", summary="Animate."))


@pytest.mark.parametrize("option", ["--config", "--prompts"])
def test_a_list_of_entries_is_a_request_for_each_prompt(option: str, tmp_path: Path) -> None:
    path = tmp_path / "v3.yaml"
    path.write_text(NEW)
    first, second = requests(option, str(path))
    assert (
        first
        == AnimationRequest(
            "a fox, best quality",
            negative_prompt="blurry",
            model="models/realistic.safetensors",
            motion="models/v3_sd15_mm.ckpt",
            loras=("models/style.safetensors:0.8",),
            adapter="models/v3_sd15_adapter.ckpt:0.5",
            motion_loras=("models/zoom-in.ckpt:0.7",),
            width=384,
            height=256,
            num_frames=16,
            steps=25,
            guidance=8.0,
            seed=13100322578370451493,
        ).validated()
    )
    assert (second.prompt, second.negative_prompt, second.seed) == ("an owl", "blurry", 2)
    (mine,) = {request.steps for request in requests(option, str(path), "--steps", "3")}
    assert mine == 3


def test_the_older_table_of_entries_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "1-ToonYou.yaml"
    path.write_text(OLD)
    (request,) = requests("--config", str(path))
    assert (request.model, request.motion) == (
        "models/toonyou.safetensors",
        "models/mm_sd_v15.ckpt",
    )
    assert (request.seed, request.guidance) == (10788741199826055526, 7.5)
    path.write_text(OLD.replace('base: ""', 'base: "models/base.safetensors"'))
    (request,) = requests("--config", str(path))
    assert request.model == "models/base.safetensors"
    assert request.loras == ("models/toonyou.safetensors:0.8",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- prompt: a\n  setps: 3\n", "unknown key 'setps'; did you mean steps?"),
        (
            "- prompt: a\n  controlnet_path: x\n",
            "give the network with --control and its pictures with --sparse",
        ),
        ("- prompt: a\n", "names no image model; give one with --model"),
        ("- dreambooth_path: m\n", "has no prompt"),
        ("- prompt: a\n  motion_module: [a, b]\n", "names several motion modules"),
        ("just text", "is not a configuration of the authors' demo"),
        (
            "- prompt: a\n  dreambooth_path: m\n- prompt: b\n  dreambooth_path: n\n",
            "different model",
        ),
        ("a: [", "cannot be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text)
    with pytest.raises((InputError, FileError), match=sentence) as refused:
        requests("--config", str(path))
    assert "\n" not in str(refused.value)
