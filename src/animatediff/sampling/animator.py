"""The animator: a loaded model that turns requests into videos, and the order in which it does so.

Inference as in Sec. 4.4 of Guo et al., arXiv 2307.04725: a personalised image model, and grafted into
it motion modules that were trained once, and never with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.plain_norms import plain_norms
from animatediff.model.low_rank import Host, exchanged, merged, merged_weights
from animatediff.model.weight_delta import merged_deltas
from animatediff.options.checks import check_multiple
from animatediff.runtime import Runtime
from animatediff.sampling.animation import Animation, Progress
from animatediff.sampling.conditions import read_conditions
from animatediff.sampling.decode import decode
from animatediff.sampling.denoise import denoise
from animatediff.sampling.free_init import in_rounds
from animatediff.sampling.guidance import (
    Latents,
    PredictNoise,
    by_step,
    guided,
    guided_to_motion,
    model_noise,
    while_noisy,
)
from animatediff.sampling.loading import Loaded, load_parts
from animatediff.sampling.memory import memory_named
from animatediff.sampling.metadata import Report, load_request
from animatediff.sampling.noise import initial_noise
from animatediff.sampling.report import report_on
from animatediff.sampling.request import AnimationRequest, parse_adapter, parse_lora
from animatediff.sampling.schedulers import SAMPLERS, Sampler
from animatediff.sampling.wildcards import resolve_wildcards
from animatediff.video import Video
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.builtin import resolve_lora
from animatediff.weights.families import Family, Numerics
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.lora import Style, fit_lora, read_lora
from animatediff.weights.motion import AUTO
from animatediff.weights.textual_inversion import Word

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Animation", "Animator", "Progress", "load_request"]

PREVIEW_FRAMES = 4
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Animator:
    """A loaded model that turns requests into videos, one at a time.

    Attributes:
        base: the image model.
        animated: its U-Net with motion modules.
        loras: the styles read so far, by file; each request says which, and how much of each.
        family: what the motion module's version decides.
        runtime: where and in which precision it runs.
        loaded: what ``load`` was asked for, as in a request.
        files: the weight files, by role.
        adapter: the domain adapter, whose alpha each request says.
        motion_loras: the motion patterns, whose scales each request says.
        notes: what is to be known of the files, a sentence each.
        words: the learned words that prompts may name.
    """

    base: BaseModel
    animated: AnimatedUNet
    loras: dict[Path, Style]
    family: Family
    runtime: Runtime
    loaded: Loaded
    files: dict[str, Path]
    adapter: LoadedLowRank | None = None
    motion_loras: tuple[LoadedLowRank, ...] = ()
    notes: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()

    @classmethod
    def load(
        cls,
        model: str = "emoji",
        *,
        motion: str = "emoji",
        loras: Sequence[str] = (),
        vae: str = "",
        embeddings: Sequence[str] = (),
        adapter: str = "",
        motion_loras: Sequence[str] = (),
        family: str = AUTO,
        numerics: Numerics = "faithful",
        runtime: Runtime | None = None,
    ) -> Animator:
        """Load a model; every file is checked against every other before any is read.

        Args:
            model: a name, a file or a diffusers folder.
            motion: a built-in name, a file, or ``none`` for the image model frame by frame.
            loras: styles, each ``name-or-file:scale``, to read now and not at the first request.
            vae: an autoencoder instead of the model's own, a name, a file or a folder.
            embeddings: textual inversions that prompts may name, each a name or a file.
            adapter: a domain adapter, ``file:alpha``; later requests may say another alpha.
            motion_loras: motion patterns, each ``file:scale``; likewise.
            family: the motion module's family, where its file does not say it.
            numerics: normalise as the family was trained, or as diffusers does.
            runtime: where to run; a GPU if there is one.

        Raises:
            InputError: a name, a device or a precision is unknown.
            FileError: a file is broken, or is not what was asked for.
            MemoryLimitError: the model does not fit.
        """
        adapter_name, alpha = parse_adapter(adapter)
        patterns = [parse_lora(text) for text in motion_loras]
        runtime = runtime or Runtime()
        parts = load_parts(
            Loaded(
                model=model,
                motion=motion,
                vae=vae,
                embeddings=tuple(embeddings),
                adapter=adapter_name,
                motion_loras=tuple(name for name, _ in patterns),
                family=family,
                numerics=numerics,
            ),
            loras=loras,
            adapter_alpha=alpha,
            motion_lora_scales=[scale for _, scale in patterns],
            runtime=runtime,
        )
        return cls(runtime=runtime, **vars(parts))

    @classmethod
    def for_request(cls, request: AnimationRequest, *, runtime: Runtime | None = None) -> Animator:
        """Load what a request names; raises as ``load`` does."""
        return cls.load(
            request.model,
            motion=request.motion,
            loras=request.loras,
            vae=request.vae,
            embeddings=request.embeddings,
            adapter=request.adapter,
            motion_loras=request.motion_loras,
            family=request.family,
            numerics=request.numerics,
            runtime=runtime,
        )

    def animate(
        self,
        request: AnimationRequest,
        *,
        on_step: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Animation:
        """Make the animation that a request determines; not from two threads at once.

        Args:
            request: what to make; its model and motion must be the loaded ones.
            on_step: told after every step.
            should_stop: asked before every step.

        Raises:
            InputError: the request cannot be, or is for another model.
            Cancelled: ``should_stop`` said so.
            NumericalError: NaN or infinity, named by its step.
            MemoryLimitError: the request needs more memory than there is.
        """
        asked, request = request.validated(), self.resolved(request)
        tell, stop = on_step or _ignore, should_stop or _never
        with ExitStack() as stack:
            stack.enter_context(memory_named("The animation"))
            # Merged into the weights, a LoRA costs nothing at the steps.
            styles = [(self._style(path).changes, scale) for path, scale in _loras_of(request)]
            stack.enter_context(merged_deltas(styles))
            # Sums are rounded, so the same MotionLoRAs are always added in the same order.
            branches = sorted(self._scales(request), key=_file_of)
            unmoved = self._unmoved(request, branches)
            for each, scale in branches:
                each.grafts.scale = scale
                if scale != 0:
                    stack.enter_context(merged(each.grafts))
            stack.callback(plain_norms(self.animated).remove)
            stack.enter_context(torch.inference_mode())
            made = self._animate(request, tell, stop, unmoved=unmoved)
        resolved = _typed(request)
        template = {name: text for name, text in _typed(asked).items() if text != resolved[name]}
        return replace(made, report=replace(made.report, template=template))

    def _style(self, path: Path) -> Style:
        """A LoRA, read at its first use.

        Raises:
            FileError: it is broken, or for another model.
        """
        if path not in self.loras:
            plan = fit_lora(read_lora(path), self.base.networks)
            self.loras[path] = plan.load(device=self.base.unet.device)
        return self.loras[path]

    def _scales(self, request: AnimationRequest) -> list[tuple[LoadedLowRank, float]]:
        """How much a request asks of the domain adapter and of every MotionLoRA."""
        scales = [scale for _, scale in map(parse_lora, request.motion_loras)]
        if self.adapter is None:
            return list(zip(self.motion_loras, scales, strict=True))
        alpha = parse_adapter(request.adapter)[1]
        return [(self.adapter, alpha), *zip(self.motion_loras, scales, strict=True)]

    def _unmoved(
        self, request: AnimationRequest, branches: Sequence[tuple[LoadedLowRank, float]]
    ) -> dict[Host, Tensor]:
        """The weights without the share of MotionLoRAs that guidance pulls to; none if it is 0."""
        if request.guidance == 1:
            return {}

        def pull(each: LoadedLowRank) -> float:
            asked = request.motion_guidance
            return each.file.motion_guidance if asked is None else asked

        moves = [(each, scale) for each, scale in branches if each is not self.adapter]
        if not any(scale * pull(each) for each, scale in moves):
            return {}
        return merged_weights([(each.grafts, scale * (1 - pull(each))) for each, scale in moves])

    def _animate(
        self,
        request: AnimationRequest,
        on_step: Callable[[Progress], None],
        should_stop: Callable[[], bool],
        *,
        unmoved: dict[Host, Tensor],
    ) -> Animation:
        """The order of work: text, what is wrapped around the model, noise, steps, pictures."""
        clock = [time.perf_counter()]
        assert request.guidance is not None
        assert request.steps is not None
        assert request.num_frames is not None
        steps, rounds, num_frames = request.steps, request.free_init, request.num_frames
        over_steps = read_conditions(request, base=self.base, words=self.words)

        def noise_of(clips: slice) -> PredictNoise:
            return by_step(
                [
                    (now.last_step, model_noise(self.animated, text=now.states, added=now.added))
                    for now in (texts.of(clips) for texts in over_steps)
                ]
            )

        predict_noise = noise_of(slice(None))
        if request.guidance != 1:
            along = noise_of(slice(1, 2))
            predict_noise = guided(predict_noise, scale=request.guidance)
            if unmoved:
                towards = guided_to_motion(
                    noise_of(slice(0, 1)),
                    along,
                    scale=request.guidance,
                    unmoved=partial(exchanged, unmoved),
                )
                predict_noise = while_noisy(towards, predict_noise)
            predict_noise = while_noisy(predict_noise, along, least=request.guidance_from)

        def draw(start: Latents, number: int) -> Latents:
            def denoised(step: int, guess: Tensor) -> None:
                done, sheet = number * steps + step, lambda: self._preview(guess, request)
                on_step(Progress("denoise", done, rounds * steps, sheet))

            return denoise(
                start,
                predict_noise=predict_noise,
                sampler=self._sampler(request),
                on_step=denoised,
                should_stop=should_stop,
            )

        def decoded(done: int) -> None:
            sheet = lambda: self._preview(latents, request)  # noqa: E731
            on_step(Progress("decode", done, num_frames, sheet))

        clock.append(time.perf_counter())
        latents = in_rounds(
            self._noise(request),
            rounds=rounds,
            draw=draw,
            noised=lambda latents, noise: self._sampler(request).noised(latents, noise),
            fresh=lambda number: self._noise(request, number=number),
        )
        clock.append(time.perf_counter())
        frames = decode(latents, vae=self.base.vae, on_step=decoded, should_stop=should_stop)
        clock.append(time.perf_counter())
        return Animation(
            video=Video(frames, request.rate),
            request=request,
            latents=latents.cpu(),
            report=self._report(request, clock=clock),
        )

    def resolved(self, request: AnimationRequest) -> AnimationRequest:
        """The request with every choice that was left to the model filled in.

        Raises:
            InputError: the request cannot be, or is for another model or precision.
        """
        request = request.validated()
        asked = Loaded.of(request)
        request = replace(
            request,
            prompt=resolve_wildcards(request.prompt, seed=request.seed),
            negative_prompt=resolve_wildcards(request.negative_prompt, seed=request.seed),
            prompts={
                key: resolve_wildcards(text, seed=request.seed)
                for key, text in request.prompts.items()
            },
        )
        if asked != self.loaded:
            raise InputError(
                f"The request is for {asked}, and this animator has {self.loaded}; "
                "load another animator for it."
            )
        precision = _PRECISIONS[self.animated.unet.dtype]
        if request.precision not in ("auto", precision):
            raise InputError(
                f"The request is for precision {request.precision}, and this animator runs in "
                f"{precision}; load another animator for it."
            )
        unit = self.base.pixels_per_latent
        own = self.base.unet.config["sample_size"]
        # Some modules know only smaller pictures than their image model, and none larger ones.
        side = min(own * unit, self.family.size) if isinstance(own, int) else self.family.size
        width, height = request.width or side, request.height or side
        check_multiple("width", width, of=unit)
        check_multiple("height", height, of=unit)
        return replace(
            request,
            num_frames=request.num_frames or self.family.num_frames,
            width=width,
            height=height,
            steps=self.family.steps if request.steps is None else request.steps,
            guidance=float(self.family.guidance if request.guidance is None else request.guidance),
            scheduler=request.scheduler or self.family.scheduler,  # pyright: ignore[reportArgumentType] - one of its own names
            precision=precision,  # pyright: ignore[reportArgumentType] - one of its own names
        ).validated()

    def _noise(self, request: AnimationRequest, *, number: int = 0) -> Latents:
        unit = self.base.pixels_per_latent
        assert request.num_frames is not None
        assert request.width is not None
        assert request.height is not None
        noise = initial_noise(
            request.seed,
            num_frames=request.num_frames,
            channels=self.base.unet.config["in_channels"],
            height=request.height // unit,
            width=request.width // unit,
            number=number,
        )
        return noise.to(self.base.unet.device)

    def _sampler(self, request: AnimationRequest) -> Sampler:
        assert request.scheduler is not None
        assert request.steps is not None
        return Sampler(
            SAMPLERS[request.scheduler],
            betas=self.family.betas,
            prediction=str(self.base.scheduler_config.get("prediction_type", "epsilon")),
            steps=request.steps,
            seed=request.seed,
            device=self.base.unet.device,
            spacing=self.family.spacing,
            lcm_steps=self.family.lcm_steps,
        )

    def _preview(self, latents: Float[Tensor, "1 c f h w"], request: AnimationRequest) -> Image:
        """A few frames, evenly spaced, as one picture."""
        assert request.num_frames is not None
        count = min(PREVIEW_FRAMES, request.num_frames)
        chosen = torch.linspace(0, request.num_frames - 1, count).round().long()
        few = latents[:, :, chosen.to(latents.device)]
        return Video(decode(few, vae=self.base.vae), request.rate).contact_sheet()

    def _report(self, request: AnimationRequest, *, clock: Sequence[float]) -> Report:
        return report_on(
            request,
            loaded=self.loaded,
            family=self.family,
            notes=self.notes,
            styles={path: self._style(path) for path, _ in _loras_of(request)},
            files=self.files,
            device=self.base.unet.device,
            clock=clock,
        )


def _loras_of(request: AnimationRequest) -> list[tuple[Path, float]]:
    """The files of a request's LoRAs, and how much of each."""
    return [(resolve_lora(name), scale) for name, scale in map(parse_lora, request.styles)]


def _typed(request: AnimationRequest) -> dict[str, str]:
    """Every text in which wildcards may leave a choice open."""
    keyframes = {f"prompts.{key}": text for key, text in request.prompts.items()}
    return {"prompt": request.prompt, "negative_prompt": request.negative_prompt, **keyframes}


def _file_of(wanted: tuple[LoadedLowRank, float]) -> str:
    return str(wanted[0].file.header.path)


def _ignore(progress: Progress) -> None:
    """Nobody watches."""
    del progress


def _never() -> bool:
    return False
