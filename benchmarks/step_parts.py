"""Where the time of a training step goes: image layers, motion modules and text, forward and backward.

The forward function of each part is timed. Its backward pass is what runs between the moment at which
the gradient of its result is known and the one at which that of its input is. Both are read in
processor seconds of the process. The layers compute as before: nothing is hooked to them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced
from animatediff.model.motion_module import MotionModule

PARTS = ("resnets", "attention", "motion", "rest")
"""Of the image model: ResNets, Transformers, and the rest; and the motion modules."""
PASSES = ("forward", "backward")
MAPS = 4
"""Dimensions of maps; texts and timesteps have fewer."""
Seconds = Mapping[str, float]
"""By part and pass, such as ``motion, backward``."""


class Parts:
    """Times the parts of a model's training steps, until ``remove``.

    Args:
        model: ours or diffusers'.
    """

    def __init__(self, model: nn.Module) -> None:
        self._replaced = Replaced()
        self._seconds: dict[str, float] = defaultdict(float)
        self._began: dict[str, float] = {}
        self._forward = True
        for part, layer in parts_of(model):
            self._replaced.put(layer, self._timed(part, layer.forward))
        for layer in text_layers(model):
            self._replaced.put(layer, self._timed("text", layer.forward, backward=False))

    def _timed(
        self, part: str, compute: Callable[..., Any], *, backward: bool = True
    ) -> Callable[..., Any]:
        def forward(*arguments: Any, **keywords: Any) -> Any:
            if not self._forward:  # recomputed, in the middle of the backward pass
                return compute(*arguments, **keywords)
            began = time.process_time()
            result = compute(*arguments, **keywords)
            self._seconds[f"{part}, forward"] += time.process_time() - began
            # A motion module of ours is given its host's input and output, and reads the output.
            given = (*arguments, *keywords.values())
            maps = [each for each in given if isinstance(each, Tensor) and each.dim() == MAPS]
            output = first_tensor(result)
            if backward and output.requires_grad:
                self._watch(part, maps[-1], output)
            return result

        return forward

    def _watch(self, part: str, given: Tensor, output: Tensor) -> None:
        name = f"{part}, backward"
        began: list[float] = []

        def begin(_gradient: Tensor) -> None:
            began.append(time.process_time())
            self._began[name] = began[0]

        def end(_gradient: Tensor) -> None:
            self._seconds[name] += time.process_time() - began[0]
            self._began.pop(name, None)

        output.register_hook(begin)
        if given.requires_grad:
            given.register_hook(end)

    def backward(self) -> None:
        """Say that the forward pass is over."""
        self._forward = False

    def seconds(self, began: float, middle: float, end: float) -> Seconds:
        """Seconds of each part and pass, by the clock before, between and after the two passes."""
        for name, since in self._began.items():  # where the backward pass ended
            self._seconds[name] += end - since
        found: dict[str, float] = {}
        for each, whole in zip(PASSES, (middle - began, end - middle), strict=True):
            for part in PARTS[:-1]:
                found[f"{part}, {each}"] = self._seconds[f"{part}, {each}"]
                whole -= self._seconds[f"{part}, {each}"]
            found[f"rest, {each}"] = whole
        return {**found, "text, forward": self._seconds["text, forward"]}

    def remove(self) -> None:
        """Let the layers compute as before."""
        self._replaced.remove()


def parts_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts that are timed; none contains another."""
    motion = [m for m in model.modules() if isinstance(m, MotionModule | AnimateDiffTransformer3D)]
    within = {layer for module in motion for layer in module.modules()}
    for layer in motion:
        yield "motion", layer
    for layer in model.modules():
        if isinstance(layer, ResnetBlock2D):
            yield "resnets", layer
        elif isinstance(layer, Transformer2DModel) and layer not in within:
            yield "attention", layer


def text_layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers that compute keys and values of the text, within the attention."""
    for transformer in model.modules():
        if isinstance(transformer, Transformer2DModel):
            for name, layer in transformer.named_modules():
                if isinstance(layer, Attention) and name.endswith("attn2"):
                    assert layer.to_k is not None
                    assert layer.to_v is not None
                    yield from (layer.to_k, layer.to_v)


def first_tensor(result: Any) -> Tensor:
    """The tensor that a layer computed: its result, the first of several, or an output's sample."""
    if isinstance(result, Tensor):
        return result
    return result[0] if isinstance(result, tuple) else result.sample


def optimiser_seconds(model: nn.Module) -> float:
    """Processor seconds of a step of AdamW for what is learned, with gradients and moments in place."""
    learned = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=0.0)
    optimiser.step()  # makes the moments
    began = time.process_time()
    optimiser.step()
    return time.process_time() - began


def table(profiles: Mapping[str, Sequence[Seconds]]) -> Iterator[str]:
    """The median seconds of each part, a column for each way, as Markdown."""
    yield "Where the processor time goes, medians in seconds:"
    yield ""
    yield f"| part | {' | '.join(profiles)} |"
    yield f"| --- |{' --- |' * len(profiles)}"
    names = next(iter(profiles.values()))[0]
    for name in names:
        cells = [f"{median(seconds[name] for seconds in each):.2f}" for each in profiles.values()]
        yield f"| {LABELS.get(name, name)} | {' | '.join(cells)} |"
    yield ""


LABELS = {
    "text, forward": "keys and values of the text, forward (within attention)",
    "optimiser": "AdamW, a step",
}
