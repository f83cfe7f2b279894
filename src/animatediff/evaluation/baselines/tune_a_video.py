"""Tune-A-Video (Wu et al., arXiv 2212.11565): an image model fine-tuned on one video, then edited.

The image model is inflated: self-attention reads the first frame and the previous one, ResNet norms
cover all frames, and each transformer block gets an attention along the frames. Only the queries of
both spatial attentions and the whole temporal attention learn, from the one video. Other prompts are
drawn from the DDIM inversion of that video.

As in the released code, the temporal attention has no positions, its output weight starts at zero and
its output bias does not, and its norm stays as it was initialised.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from animatediff.errors import Cancelled
from animatediff.evaluation.baselines.ddim import ddim, inverted
from animatediff.evaluation.baselines.frame_attention import (
    first_and_previous,
    reading_other_frames,
)
from animatediff.model.clip import Clip
from animatediff.model.grafts.graft import Graft, Grafts
from animatediff.model.norms import normalise_over_frames
from animatediff.training.lessons.lesson import numbers_themselves
from animatediff.training.lessons.objective import noised, velocity
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train

if TYPE_CHECKING:
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

STEPS, GUIDANCE = 50, 12.5
"""Of drawing and of inversion; the authors'."""
CHECKPOINTED_ABOVE = 16 * 32 * 32
"""Positions of a video's latents up to which activations are kept for the backward pass."""
TRAINING = Recipe(
    steps=500,
    batch_size=1,
    learning_rate=3e-5,
    warmup=0,
    schedule="constant",
    ema_decay=0,
    precision="fp32",
    seed=33,
)
"""How the authors train; in half precision on a GPU."""


class FrameMixing(nn.Module):
    """The branch after a transformer block: layer norm and self-attention along the frames."""

    def __init__(self, channels: int, *, heads: int, clip: Clip) -> None:
        super().__init__()
        from diffusers.models.attention_processor import Attention

        self.clip = clip
        self.norm_temp = nn.LayerNorm(channels)
        self.attn_temp = Attention(channels, heads=heads, dim_head=channels // heads)
        nn.init.zeros_(self.attn_temp.get_parameter("to_out.0.weight"))

    def forward(self, inputs: Tensor, output: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
        """What each position gathers from the other frames."""
        del inputs
        frames, positions = self.clip.num_frames, output.shape[1]
        tokens = rearrange(self.norm_temp(output), "(b f) s c -> (b s) f c", f=frames)
        return rearrange(self.attn_temp(tokens), "(b s) f c -> (b f) s c", s=positions)


def transformer_blocks(unet: UNet2DConditionModel) -> Iterator[tuple[str, BasicTransformerBlock]]:
    """Every transformer block of the image model, by name."""
    from diffusers.models.attention import BasicTransformerBlock

    for name, layer in unet.named_modules():
        if isinstance(layer, BasicTransformerBlock):
            yield name, layer


class InflatedUNet:
    """An image model inflated as Tune-A-Video does, until ``remove``.

    Attributes:
        learns: exactly what is trained: ``attn1.to_q``, ``attn2.to_q`` and ``attn_temp`` of each block.
    """

    def __init__(self, unet: UNet2DConditionModel, *, seed: int = 33) -> None:
        self.unet = unet.requires_grad_(False)
        self.clip = Clip()
        self._queries: list[tuple[nn.Module, Tensor]] = []
        self._attention = ExitStack()
        self._attention.enter_context(
            reading_other_frames(unet, first_and_previous, clip=self.clip)
        )
        self._norms = normalise_over_frames(unet, clip=self.clip)
        self.learns = nn.ModuleDict()
        grafts: dict[str, Graft] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, block in transformer_blocks(unet):
                grafts[name] = self._inflate(name.replace(".", "_"), block)
        self._grafts = Grafts(grafts)
        self.learns.requires_grad_(True)

    def _inflate(self, name: str, block: BasicTransformerBlock) -> Graft:
        branch = FrameMixing(block.dim, heads=block.num_attention_heads, clip=self.clip)
        branch = branch.to(device=self.unet.device, dtype=self.unet.dtype).requires_grad_(False)
        self.learns[f"{name}_attn_temp"] = branch.attn_temp
        for attention in ("attn1", "attn2"):
            layer = block.get_submodule(f"{attention}.to_q")
            self._queries.append((layer, layer.get_parameter("weight").detach().clone()))
            self.learns[f"{name}_{attention}_to_q"] = layer
        return Graft(branch).attach(block)

    def __call__(
        self, latents: Float[Tensor, "b c f h w"], timestep: Tensor, states: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b c f h w"]:
        """What the model predicts for every frame; each clip has one timestep and one text."""
        self.clip.num_frames = frames = latents.shape[2]
        times = timestep.reshape(-1).expand(len(latents)).repeat_interleave(frames)
        predicted = self.unet(
            rearrange(latents, "b c f h w -> (b f) c h w").to(self.unet.dtype),
            times.to(latents.device),
            states.to(self.unet.dtype).repeat_interleave(frames, dim=0),
            return_dict=False,
        )[0]
        return rearrange(predicted.float(), "(b f) c h w -> b c f h w", f=frames)

    def remove(self) -> None:
        """Make the image model what it was before, bit for bit; harmless if repeated."""
        self._grafts.remove()
        self._norms.remove()
        self._attention.close()
        for layer, weight in self._queries:
            layer.get_parameter("weight").data.copy_(weight)
        self._queries.clear()


@dataclass
class TuneLesson:
    """Predict the noise in one video, given its prompt (Sec. 4.2).

    Attributes:
        inflated: the model; what of it learns is ``learns``.
        latents: of the video.
        states: of its prompt.
        alphas_bar: the share of signal left at each timestep.
        predicts_velocity: whether the model predicts velocities instead of noise.
    """

    inflated: InflatedUNet
    latents: Float[Tensor, "1 c f h w"]
    states: Float[Tensor, "1 n d"]
    alphas_bar: Float[Tensor, " timesteps"]
    predicts_velocity: bool = False
    size: int = 1
    learns: nn.Module = field(init=False)
    fetch = staticmethod(numbers_themselves)

    def __post_init__(self) -> None:
        self.learns = self.inflated.learns

    def losses(self, batch: Int[Tensor, " batch"], generator: torch.Generator) -> dict[str, Tensor]:
        """The mean square error at a random timestep."""
        del batch
        noise = torch.randn(self.latents.shape, generator=generator).to(self.latents)
        time = torch.randint(len(self.alphas_bar), (1,), generator=generator)
        kept = self.alphas_bar[time].to(self.latents)
        predicted = self.inflated(noised(self.latents, noise, kept), time, self.states)
        target = velocity(self.latents, noise, kept) if self.predicts_velocity else noise
        return {"loss": F.mse_loss(predicted, target)}


def tune(
    inflated: InflatedUNet,
    latents: Float[Tensor, "1 c f h w"],
    *,
    states: Float[Tensor, "1 n d"],
    scheduler_config: Mapping[str, Any],
    folder: Path,
    options: Recipe = TRAINING,
) -> None:
    """Fine-tune the inflated model on one video, resuming from ``folder``.

    Large videos are trained with gradient checkpointing, as the authors do: the same gradients in a
    fraction of the memory.

    Args:
        inflated: the model, which learns in place.
        latents: of the video.
        states: the text encoder's states of its prompt.
        scheduler_config: the noise that the model was trained with, in diffusers' words.
        folder: of this run.
        options: the authors' if left out.

    Raises:
        Cancelled, Interrupted, NumericalError, InputError, OutputError: as ``train`` does.
    """
    scheduler = ddim(scheduler_config)
    lesson = TuneLesson(
        inflated,
        latents,
        states,
        scheduler.alphas_cumprod,
        scheduler.config["prediction_type"] == "v_prediction",
    )
    with _checkpointed(inflated.unet, latents):
        learned = train(lesson, options, folder)
    parameters = dict(inflated.learns.named_parameters())
    for name, tensor in learned.items():
        parameters[name].data.copy_(tensor)


@contextmanager
def _checkpointed(
    unet: UNet2DConditionModel, latents: Float[Tensor, "1 c f h w"]
) -> Generator[None]:
    """Recompute activations in the backward pass inside this context, if the video is large."""
    if latents[0, 0].numel() <= CHECKPOINTED_ABOVE:
        yield
        return
    unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()


@torch.inference_mode()
def invert(
    inflated: InflatedUNet,
    latents: Float[Tensor, "1 c f h w"],
    *,
    empty: Float[Tensor, "1 n d"],
    scheduler_config: Mapping[str, Any],
    steps: int = STEPS,
) -> Float[Tensor, "1 c f h w"]:
    """The noise of a video by DDIM inversion, with the states of the empty prompt and no guidance."""
    scheduler = ddim(scheduler_config)
    scheduler.set_timesteps(steps)
    return inverted(latents, scheduler, lambda x, time: inflated(x, time, empty))


@torch.inference_mode()
def edit(
    inflated: InflatedUNet,
    noise: Float[Tensor, "1 c f h w"],
    *,
    states: Float[Tensor, "2 n d"],
    scheduler_config: Mapping[str, Any],
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    should_stop: Callable[[], bool] | None = None,
) -> Float[Tensor, "1 c f h w"]:
    """The latents of a video of another prompt.

    Args:
        inflated: the tuned model.
        noise: of the video that it was tuned on.
        states: the text encoder's states of the negative prompt and of the new prompt.
        scheduler_config: the noise that the model was trained with, in diffusers' words.
        steps: DDIM steps.
        guidance: classifier-free guidance scale.
        should_stop: checked before every step.

    Raises:
        Cancelled: ``should_stop`` said so.
    """
    scheduler = ddim(scheduler_config)
    scheduler.set_timesteps(steps)
    latents = noise
    for time in scheduler.timesteps:
        if should_stop is not None and should_stop():
            raise Cancelled("Tune-A-Video was cancelled.")
        without, along = inflated(torch.cat([latents] * 2), time, states).chunk(2)
        predicted = without + guidance * (along - without)
        latents = scheduler.step(predicted, int(time), latents, return_dict=False)[0]
    return latents
