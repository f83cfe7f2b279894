"""The light step: the numbers of the plain step, from a fraction of what it keeps."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from animatediff.model import AnimatedUNet, attach_domain_adapter, attach_motion_lora
from animatediff.model.fast.choice import FastPaths, choose_fast_paths, plan_fast_paths
from animatediff.model.fast.convolutions.folded_upsampling import fold_upsampling, upsampled
from animatediff.model.fast.convolutions.frozen_convolution import forget_inputs
from animatediff.model.fast.text.shared_text import ClipAttention
from animatediff.runtime import Runtime
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.stages.stage_options import StageOptions
from animatediff.world.stages.table import STAGES

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "training_step.py"
MakeMotion = Callable[..., AnimatedUNet]
TOLERANCE = 1e-5
"""Of the output and of the whole gradient in fp32, relative; in fp64 each parameter's is 1e-9."""


def predict(animated: AnimatedUNet) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 3, 8, 8, generator=draw).to(animated.unet.dtype)
    text = torch.randn(2, 7, animated.unet.config["cross_attention_dim"], generator=draw)
    return animated(latents, torch.tensor([3, 700]), text.to(latents))


def step(animated: AnimatedUNet, learns: nn.Module) -> dict[str, Tensor]:
    """The output and every gradient, by name."""
    learns.zero_grad()
    output = predict(animated)
    output.square().mean().backward()
    gradients = {n: p.grad.clone() for n, p in learns.named_parameters() if p.grad is not None}
    assert len(gradients) == len(dict(learns.named_parameters()))
    return {"output": output.detach(), **gradients}


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The larger relative one, of the output and of all gradients together."""
    assert one.keys() == other.keys()
    output = float((one["output"] - other["output"]).norm() / other["output"].norm())
    names = one.keys() - {"output"}
    off, size = (
        sum(float(t.square().sum()) for t in tensors)
        for tensors in ([one[n] - other[n] for n in names], [other[n] for n in names])
    )
    assert size > 0
    return max(output, (off / size) ** 0.5)


def kept_bytes(animated: AnimatedUNet) -> int:
    """Of activations, between forward and backward."""

    class Held:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    alive: weakref.WeakSet[Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Held:
        held = Held(tensor)
        alive.add(held)
        return held

    weights = {p.untyped_storage().data_ptr() for p in animated.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        output = predict(animated)
    storages = [held.tensor.untyped_storage() for held in alive]
    sizes = {s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in weights}
    del output
    return sum(sizes.values())


def frozen(animated: AnimatedUNet) -> AnimatedUNet:
    animated.unet.requires_grad_(False)
    return animated


@pytest.mark.parametrize("scope", ["frame", "video"])
@pytest.mark.parametrize(("recompute", "small"), [(True, False), (False, False), (False, True)])
def test_gradients_of_motion_modules_are_those_of_the_plain_step(
    scope: str, recompute: bool, small: bool, new_motion: MakeMotion
) -> None:
    animated = frozen(new_motion(mid=True))
    for module in animated.motion.values():
        vars(module)["norm_scope"] = scope
    plain = step(animated, animated.motion)
    choose_fast_paths(
        animated.unet, animated=animated, learns=True, spares_memory=recompute, small=small
    )
    assert difference(step(animated, animated.motion), plain) < TOLERANCE


def test_in_double_precision_the_gradient_of_every_parameter_is_that_of_the_plain_step(
    new_motion: MakeMotion,
) -> None:
    animated = frozen(new_motion(mid=True)).double()
    plain = step(animated, animated.motion)
    choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    light = step(animated, animated.motion)
    # What is added before a norm that takes it off again has a gradient of rounding alone.
    least = 1e-6 * max(float(t.norm()) for n, t in plain.items() if n != "output")
    off = {n: float((light[n] - t).norm() / t.norm().clamp(min=least)) for n, t in plain.items()}
    assert max(off.values()) < 1e-9, max(off, key=lambda n: off[n])


def test_gradients_of_a_motion_lora_beside_an_adapter_are_those_of_the_plain_step(
    new_motion: MakeMotion,
) -> None:
    animated = frozen(new_motion())
    animated.motion.requires_grad_(False)
    adapter = attach_domain_adapter(animated.unet, rank=2)
    lora = attach_motion_lora(animated, rank=2)
    for part in (adapter, lora):
        for weights in part.parameters():
            nn.init.normal_(weights, std=0.2)
    adapter.requires_grad_(False)
    plain = step(animated, lora)
    choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    assert difference(step(animated, lora), plain) < TOLERANCE


def test_gradients_of_an_adapter_are_those_of_the_plain_step(new_motion: MakeMotion) -> None:
    animated = frozen(new_motion())
    animated.motion.requires_grad_(False)
    adapter = attach_domain_adapter(animated.unet, rank=2)
    for weights in adapter.parameters():
        nn.init.normal_(weights, std=0.2)
    plain = step(animated, adapter)
    choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    assert difference(step(animated, adapter), plain) < TOLERANCE


def test_gradients_of_the_image_model_are_those_of_the_plain_step(new_motion: MakeMotion) -> None:
    animated = new_motion()
    animated.motion.requires_grad_(False)
    plain = step(animated, animated.unet)
    choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    assert difference(step(animated, animated.unet), plain) < TOLERANCE


@pytest.mark.parametrize("small", [True, False])
def test_in_half_precision_it_is_as_near_to_fp32_as_the_plain_step(
    small: bool, new_motion: MakeMotion
) -> None:
    animated = frozen(new_motion())
    exact = step(animated, animated.motion)
    with torch.autocast("cpu", torch.bfloat16):
        plain = step(animated, animated.motion)
    choose_fast_paths(
        animated.unet, animated=animated, learns=True, spares_memory=not small, small=small
    )
    with torch.autocast("cpu", torch.bfloat16):
        light = step(animated, animated.motion)

    def off(found: dict[str, Tensor]) -> float:
        size = sum(float(exact[n].square().sum()) for n in exact)
        return (sum(float((found[n] - exact[n]).square().sum()) for n in exact) / size) ** 0.5

    assert 1e-4 < off(plain) < 0.1
    assert off(light) < 1.25 * off(plain)


def test_it_keeps_less_than_half_and_checkpointing_still_less(new_motion: MakeMotion) -> None:
    animated = frozen(new_motion())
    plain = kept_bytes(animated)
    light = choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    kept = kept_bytes(animated)
    light.remove()
    assert kept < 0.5 * plain
    assert kept_bytes(animated) == plain
    choose_fast_paths(animated.unet, animated=animated, learns=True)
    animated.set_gradient_checkpointing(True)
    assert kept_bytes(animated) < kept


def test_with_gradient_checkpointing_gradients_stay_the_same(new_motion: MakeMotion) -> None:
    animated = frozen(new_motion())
    plain = step(animated, animated.motion)
    choose_fast_paths(animated.unet, animated=animated, learns=True)
    animated.set_gradient_checkpointing(True)
    assert difference(step(animated, animated.motion), plain) < TOLERANCE


def test_removed_it_leaves_every_number_bit_for_bit(new_motion: MakeMotion) -> None:
    animated = frozen(new_motion())
    animated.unet.set_attn_processor(AttnProcessor2_0())
    names = list(animated.state_dict())
    plain = step(animated, animated.motion)
    light = choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
    assert list(animated.state_dict()) == names
    assert all(isinstance(p, ClipAttention) for p in animated.unet.attn_processors.values())
    light.remove()
    light.remove()
    again = step(animated, animated.motion)
    assert all(torch.equal(again[n], plain[n]) for n in plain)
    assert not any("forward" in vars(layer) for layer in animated.modules())


def test_one_text_for_each_frame_is_attended_to_frame_by_frame(new_motion: MakeMotion) -> None:
    animated = frozen(new_motion())
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 3, 4, 4, generator=draw)
    texts = torch.randn(1, 3, 7, animated.unet.config["cross_attention_dim"], generator=draw)
    with torch.no_grad():
        plain = animated(latents, 5, texts)
        choose_fast_paths(animated.unet, animated=animated, learns=True, spares_memory=True)
        light = animated(latents, 5, texts)
    assert (light - plain).norm() / plain.norm() < TOLERANCE


def test_a_frozen_convolution_keeps_nothing_of_its_input() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2), nn.Conv2d(6, 4, 1, groups=2)
    ).requires_grad_(False)
    inputs = torch.randn(2, 4, 9, 8, requires_grad=True)
    gradients: list[Tensor] = []
    weights = {p.data_ptr() for p in layers.parameters()}
    for others in (set[int](), weights):
        kept: set[int] = set()

        def pack(tensor: Tensor, kept: set[int] = kept) -> Tensor:
            kept.add(tensor.data_ptr())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = layers(inputs)
        gradients += torch.autograd.grad(output.square().sum(), inputs)
        if others:
            assert kept <= others
        forget_inputs(layers)
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_at_the_size_of_stable_diffusion_it_keeps_less_than_half_of_what_diffusers_keeps() -> None:
    for precision in ("fp32", "bf16"):
        run = subprocess.run(
            [sys.executable, BENCHMARK, "--activations", "--precision", precision],
            capture_output=True,
            text=True,
            check=True,
        )
        kept = {line.split(":")[0]: int(line.split()[1]) for line in run.stdout.splitlines()}
        assert kept["checkpointed"] < kept["ours"] < 0.5 * kept["diffusers"]


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 1), (1, 3, 2, 7)])
def test_four_small_convolutions_are_the_large_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    small = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    conv = nn.Conv2d(3, 5, 3, padding=1, dtype=torch.float64).requires_grad_(False)
    expected = conv(nn.functional.interpolate(small, scale_factor=2.0, mode="nearest"))
    found = upsampled(small, conv.weight, conv.bias)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    (there,) = torch.autograd.grad(expected, small, gradient)
    (here,) = torch.autograd.grad(found, small, gradient)
    torch.testing.assert_close(here, there)


def test_upsampling_is_folded_and_a_branch_on_it_still_counts(new_motion: MakeMotion) -> None:
    unet = frozen(new_motion()).unet
    assert len(fold_upsampling(unet)) == 1
    upsampler = next(layer for layer in unet.modules() if isinstance(layer, Upsample2D))
    small = torch.randn(1, upsampler.channels, 2, 2)
    bare = upsampler(small)
    conv = upsampler.get_submodule("conv")
    handle = conv.register_forward_hook(lambda host, given, output: cast(Tensor, output) + 1)
    torch.testing.assert_close(upsampler(small), bare + 1)
    handle.remove()


@pytest.mark.parametrize("name", ["motion", "motion-lora", "domain-adapter"])
def test_stages_take_it_by_themselves_and_resume_exactly(
    name: str,
    setup_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    options = replace(options_of(name), save_every=1)

    def trained(folder: str, *, until: int) -> dict[str, Tensor]:
        prepared = STAGES[name].prepare(setup_of(name, tmp_path), options, torch.device("cpu"))
        assert prepared.frozen is not None
        processors = prepared.frozen.base.unet.attn_processors.values()
        assert all(isinstance(p, ClipAttention) for p in processors)
        lesson = StopsBefore(prepared.lesson, until)
        with contextlib.suppress(KeyboardInterrupt):
            return train(lesson, options, tmp_path / folder, facts=prepared.facts)
        return {}

    whole = trained("whole", until=options.steps)
    assert trained("parts", until=1) == {}
    parts = trained("parts", until=options.steps)
    assert whole
    assert all(torch.equal(parts[n], whole[n]) for n in whole)


class StopsBefore:
    """A lesson whose process ends after so many micro-batches."""

    def __init__(self, lesson: Lesson, until: int) -> None:
        self.learns, self.size, self.fetch = lesson.learns, lesson.size, lesson.fetch
        self._lesson, self._left = lesson, until

    def losses(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left -= 1
        return self._lesson.losses(batch, generator)


def test_the_plan_follows_from_where_and_how_a_model_runs() -> None:
    cpu, gpu = Runtime(device="cpu", precision="bf16"), Runtime(device="meta")
    assert plan_fast_paths(cpu, learns=False) == FastPaths(plain_norms=True)
    assert plan_fast_paths(replace(cpu, precision="fp32"), learns=False) == FastPaths()
    step = plan_fast_paths(cpu, learns=True, spares_memory=True)
    assert step == FastPaths(
        plain_attention=True, shared_text=True, folded_upsampling=True, recompute=True
    )
    assert plan_fast_paths(cpu, learns=True, clips=False) == FastPaths(plain_attention=True)
    assert plan_fast_paths(gpu, learns=True) == FastPaths(shared_text=True)
