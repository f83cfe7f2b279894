"""Each kind of file given where another is wanted: one sentence, before anything large is read."""

from __future__ import annotations

import functools
import itertools
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.weights import synthetic
from tests.weights.synthetic import SAMPLES

from animatediff.errors import FileError
from animatediff.weights.inspect import Inspection, check_kind, inspect_header, wanted
from animatediff.weights.inspection.kinds import BASE_TITLES, KINDS, Kind
from animatediff.weights.storage.files import Header

ROLES: tuple[Kind, ...] = tuple(k for k in get_args(Kind) if k not in ("other", "unknown"))
PAIRS = [
    (name, role) for name, role in itertools.product(SAMPLES, ROLES) if role != SAMPLES[name].kind
]


@functools.cache
def inspected(name: str) -> Inspection:
    header = Header(Path(f"{name}.safetensors"), synthetic.shapes_of(name), SAMPLES[name].metadata)
    return inspect_header(header)


def test_the_samples_cover_every_kind() -> None:
    assert {sample.kind for sample in SAMPLES.values()} == {*ROLES}
    assert len(PAIRS) > 800


@pytest.mark.parametrize("role", ROLES)
def test_every_wrong_file_is_refused_in_one_sentence_that_names_both(role: Kind) -> None:
    for name in (sample for sample, wrong in PAIRS if wrong == role):
        found = inspected(name)
        if role in found.alternatives:
            check_kind(found, role)  # the file fits both, and nobody can tell
            continue
        with pytest.raises(FileError) as caught:
            check_kind(found, role)
        sentence = str(caught.value)
        assert sentence.startswith(f"{name}.safetensors is {KINDS[found.kind].title}")
        assert KINDS[role].title in sentence
        assert KINDS[found.kind].use in sentence
        assert "\n" not in sentence
        assert sentence.endswith(".")
        assert len(sentence) < 400


def test_every_right_role_is_taken() -> None:
    for found in map(inspected, SAMPLES):
        check_kind(found, found.kind)


def test_only_low_rank_files_on_attentions_fit_two_roles() -> None:
    both = {name: inspected(name).alternatives for name in SAMPLES if inspected(name).alternatives}
    assert both == {
        "domain-adapter-diffusers": ("lora",),
        "domain-adapter-kohya": ("lora",),
        "lora-peft": ("adapter",),
        "lora-peft-raw": ("adapter",),
        "lora-peft-named": ("adapter",),
        "lora-diffusers": ("adapter",),
        "lora-diffusers-old": ("adapter",),
        "lora-ours": ("adapter",),
    }


@pytest.mark.parametrize("base", ["sd15", "sd2", "sdxl"])
def test_another_image_models_file_is_refused(base: str) -> None:
    refused = 0
    for found in map(inspected, SAMPLES):
        if found.base in ("", base):
            check_kind(found, found.kind, base=base)
            continue
        with pytest.raises(FileError) as caught:
            check_kind(found, found.kind, base=base)
        assert BASE_TITLES[found.base] in str(caught.value)
        assert BASE_TITLES[base] in str(caught.value)
        refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("name", "role"),
    [("sdxl", "motion"), ("motion-sdxl", "checkpoint"), ("sd2", "vae"), ("lora-sdxl", "adapter")],
)
def test_a_wrong_file_of_real_size_costs_next_to_nothing(
    name: str, role: Kind, tmp_path: Path
) -> None:
    path = synthetic.write_sparse(tmp_path / "x.safetensors", name)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"x\.safetensors is"):
            wanted(path, role)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_a_wrong_pickle_is_named_too(tmp_path: Path) -> None:
    path = synthetic.write_pickle(tmp_path / "x.ckpt", "motion-lora-v2")
    with pytest.raises(FileError, match=r"x\.ckpt is a MotionLoRA .*give it to --motion-lora"):
        wanted(path, "motion")


def test_what_no_rule_knows_is_refused_everywhere(tmp_path: Path) -> None:
    unknown = replace(inspected("sd15"), kind="unknown", family="", base="")
    for role in ROLES:
        with pytest.raises(FileError, match="check that it is the right file"):
            check_kind(unknown, role)
