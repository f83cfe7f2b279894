"""Python as people write it: a prompt and keywords in, frames of any library out."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import animatediff
from animatediff import AnimationRequest, Animator, InputError, load_request
from animatediff.sampling.choosing.keywords import Choices
from animatediff.sampling.loaded.lora_cache import LoraCache


@pytest.fixture(scope="module")
def still(tiny_world: Path) -> Animator:
    return Animator.load(str(tiny_world), motion="none")


@pytest.mark.usefixtures("latents_only")
def test_a_prompt_and_keywords_are_enough(
    animator: Animator, request_of: AnimationRequest, tmp_path: Path
) -> None:
    made = animator.animate("a fox", num_frames=3, steps=2, guidance=3.0, seed=5, from_still=1)
    whole = animator.animate(request_of)
    assert made.request == whole.request
    assert torch.equal(made.latents, whole.latents)
    assert load_request(made.save(tmp_path / "fox.gif")) == whole.request


def test_keywords_override_a_request(animator: Animator, request_of: AnimationRequest) -> None:
    other = animator.animate(request_of, seed=6, steps=1)
    assert (other.request.seed, other.request.steps) == (6, 1)
    assert torch.equal(
        other.latents, animator.animate(replace(request_of, seed=6, steps=1)).latents
    )
    with pytest.raises(TypeError, match="setps"):
        animator.animate("a fox", setps=1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(InputError, match="An AnimationRequest is needed"):
        animator.animate(3)  # pyright: ignore[reportArgumentType]


def test_what_is_loaded_need_not_be_repeated_and_something_else_is_refused(
    still: Animator, tiny_world: Path, tiny_motion: Path
) -> None:
    request = AnimationRequest(prompt="a fox", num_frames=1, steps=1)
    made = still.animate(request)
    assert (made.request.model, made.request.motion) == (str(tiny_world), "none")
    for named in ({"model": "emoji"}, {"motion": str(tiny_motion)}, {"vae": "x"}, {"family": "v2"}):
        with pytest.raises(InputError, match="load another animator for it"):
            still.animate(replace(request, **named))
    styled = Animator.load(str(tiny_world), motion=str(tiny_motion), numerics="diffusers")
    assert styled.animate(request).request.numerics == "diffusers"


@pytest.mark.usefixtures("latents_only")
def test_loras_of_load_are_used_unless_a_request_has_its_own(
    tiny_world: Path, tiny_lora: Path, still: Animator
) -> None:
    few = {"num_frames": 1, "steps": 1}
    own = f"{tiny_lora}:0.5"
    styled = Animator.load(str(tiny_world), motion="none", loras=[own])
    plain = still.animate("a fox", num_frames=1, steps=1).latents
    made = styled.animate("a fox", num_frames=1, steps=1)
    assert made.request.loras == (own,)
    assert not torch.equal(made.latents, plain)
    assert torch.equal(styled.animate("a fox", loras=(), num_frames=1, steps=1).latents, plain)
    asked = AnimationRequest("a fox", loras=(f"{tiny_lora}:0.25",), num_frames=1, steps=1)
    assert styled.animate(asked).request.loras == asked.loras
    # An animator for a request has nothing to add to the next request.
    shared = Animator.for_request(
        AnimationRequest("a", model=str(tiny_world), motion="none", loras=(own,))
    )
    assert torch.equal(shared.animate(AnimationRequest("a fox", **few)).latents, plain)


def test_frames_come_as_arrays_pictures_and_tensors(still: Animator) -> None:
    made = still.animate("a fox", num_frames=2, steps=1)
    assert made.frames.shape == (2, 32, 32, 3)
    pictures = made.to_pil()
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), made.frames)
    tensor = made.to_torch()
    assert tensor.shape == (2, 3, 32, 32)
    assert np.array_equal((tensor * 255).round().byte().permute(0, 2, 3, 1).numpy(), made.frames)


def test_an_animator_moves_to_a_device(
    tiny_world: Path, tiny_motion: Path, tiny_lora: Path, request_of: AnimationRequest
) -> None:
    there = Animator.load(str(tiny_world), motion=str(tiny_motion), loras=[f"{tiny_lora}:1"])
    before = there.animate(request_of).latents
    here = there.to("cpu")
    assert here.runtime.device == "cpu"
    assert torch.equal(here.animate(request_of).latents, before)
    meta = here.base.to(torch.device("meta"))
    assert {p.device.type for net in meta.networks.values() for p in net.parameters()} == {"meta"}
    assert meta.pending_vae.device.type == meta.vae.device.type == "meta"
    with pytest.raises(InputError, match="no device called"):
        there.to("abacus")


def test_the_least_recently_used_loras_leave_memory(still: Animator, tiny_lora: Path) -> None:
    import shutil

    paths = [tiny_lora.with_name(f"copy-{number}.safetensors") for number in range(4)]
    for path in paths:
        shutil.copy(tiny_lora, path)
    cache = LoraCache(still.base, most=2)

    def use(*numbers: int) -> list[int]:
        wanted = [paths[number] for number in numbers]
        cache.make_room(wanted)
        for path in wanted:
            cache.read(path)
        return [number for number, path in enumerate(paths) if path in cache]

    first = cache.read(paths[0])
    assert cache.read(paths[0]) is first
    assert use(1) == [0, 1]
    assert use(0) == [0, 1]
    assert use(2) == [0, 2]  # 1 was not used for longest
    assert use(0, 1, 2, 3) == [0, 1, 2, 3]  # a request may have more than are kept
    assert use(3) == [2, 3]
    few = {"num_frames": 1, "steps": 1}
    bounded = replace(still, loras=LoraCache(still.base, most=2))
    for path in paths:
        bounded.animate(AnimationRequest("a fox", loras=(str(path),), **few))
    assert len(bounded.loras) == 2


def test_type_checkers_know_every_field_of_a_request_as_a_keyword() -> None:
    fields = typing.get_type_hints(AnimationRequest)
    keywords = typing.get_type_hints(Choices)
    assert fields.keys() - {"prompt"} == keywords.keys()
    for name, hint in keywords.items():
        allowed = fields[name]
        if name == "init":
            assert str in typing.get_args(hint)  # frames in memory will do as well
            continue
        if typing.get_origin(allowed) is tuple:
            assert hint == Sequence[str], name  # any list of texts will do
        else:
            assert hint == allowed or set(typing.get_args(allowed)) >= {hint}, name


def test_public_names_are_there_and_typed() -> None:
    for name in animatediff.__all__:
        assert getattr(animatediff, name).__module__.startswith("animatediff")
    assert issubclass(animatediff.FileError, ValueError)
    assert (Path(animatediff.__file__).parent / "py.typed").is_file()


@pytest.mark.usefixtures("latents_only")
def test_the_largest_seed_draws_noise_of_its_own(still: Animator) -> None:
    one, two = (
        still.animate("a fox", seed=seed, num_frames=1, steps=1).latents
        for seed in (2**64 - 1, 2**63 - 1)
    )
    assert not torch.equal(one, two)


@pytest.mark.parametrize(("side", "said"), [(32, False), (48, False), (56, True)])
def test_pictures_far_beyond_the_trained_size_are_reported(
    animator: Animator, request_of: AnimationRequest, side: int, said: bool
) -> None:
    made = animator.animate(request_of, width=side, steps=1, num_frames=1)
    notes = [note for note in made.report.notes if "was drawn; far beyond its own size" in note]
    assert len(notes) == said
