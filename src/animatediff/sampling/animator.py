"""The animator: a loaded model that turns requests into videos, and the order in which it does so.

Inference as in Sec. 4.4 of Guo et al., arXiv 2307.04725: a personalised image model, and grafted into
it motion modules that were trained once, and never with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch

from animatediff.finishing.finish import finished
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.free_u import FreeU, factors_for
from animatediff.runtime import Runtime
from animatediff.sampling.animation import Animation, Progress
from animatediff.sampling.around.composed import composed
from animatediff.sampling.around.perturbed_attention import away_from_perturbed
from animatediff.sampling.around.regional import regional
from animatediff.sampling.around.windows import over_windows
from animatediff.sampling.ask import Around, PredictNoise
from animatediff.sampling.camera.followed import camera_of
from animatediff.sampling.changed_weights import ChangedWeights, changed_weights
from animatediff.sampling.choices import Choices, Files, chosen, frames_in
from animatediff.sampling.conditions import Texts, read_texts
from animatediff.sampling.control.build import build_controls, sparse_pictures
from animatediff.sampling.control.colours import like_their_pictures
from animatediff.sampling.decode import decode
from animatediff.sampling.draw import draw_latents, new_sampler
from animatediff.sampling.finish_choice import finish_of
from animatediff.sampling.guided import guidance_of
from animatediff.sampling.hires import enlarged, second_pass
from animatediff.sampling.image_prompts.build import image_prompts_of
from animatediff.sampling.image_to_video.moved import Moved, moved_picture
from animatediff.sampling.image_to_video.picture import picture_source
from animatediff.sampling.image_to_video.way import ways_of
from animatediff.sampling.inputs import check_input_files
from animatediff.sampling.loading import Loaded, load_parts, move
from animatediff.sampling.lora_cache import MOST_LORAS, LoraCache
from animatediff.sampling.memory import memory_named
from animatediff.sampling.metadata import load_request
from animatediff.sampling.model_noise import model_noise
from animatediff.sampling.motion_strength import motion_strength_of
from animatediff.sampling.object_motion.followed import object_motion_of
from animatediff.sampling.regions.shares import region_shares
from animatediff.sampling.report import report_on
from animatediff.sampling.request import AnimationRequest, check_request
from animatediff.sampling.schedulers import Sampler
from animatediff.sampling.settled import Model, Settled, settle
from animatediff.sampling.text_rows import weights_of
from animatediff.sampling.video_to_video.begin import begin_from, read_source
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.video_to_video.sound import sound_of
from animatediff.sampling.video_to_video.source import Source
from animatediff.sampling.views import views_in
from animatediff.sampling.watch import Watch, ignore, never
from animatediff.video import Video
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.control.loader import LoadedControl
from animatediff.weights.families import Family
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.motion_picture import PictureInput
from animatediff.weights.roles import RoleName
from animatediff.weights.textual_inversion import Word

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

__all__ = ["Animation", "Animator", "Progress", "load_request"]


@dataclass(frozen=True)
class Animator:
    """A loaded model that turns requests into videos, one at a time.

    Attributes:
        base: the image model.
        animated: its U-Net with motion modules.
        loras: the LoRAs read last; each request says which, and how much of each.
        family: what the motion module's version decides.
        runtime: where and in which precision it runs.
        loaded: what ``load`` was asked for, as in a request.
        files: the weight files, by role.
        added: what was added to the image model, by role (``weights/roles.py``).
        notes: what is to be known of the files, a sentence each.
        own_loras: the LoRAs of ``load``, for requests that name none.
        picture: what the motion module's file reads a picture with, if it does.
    """

    base: BaseModel
    animated: AnimatedUNet
    loras: LoraCache
    family: Family
    runtime: Runtime
    loaded: Loaded
    files: dict[str, Path]
    added: Mapping[RoleName, tuple[Any, ...]]
    notes: tuple[str, ...] = ()
    own_loras: tuple[str, ...] = ()
    picture: PictureInput | None = None

    @classmethod
    def load(
        cls,
        model: str = "emoji",
        *,
        runtime: Runtime | None = None,
        most_loras: int = MOST_LORAS,
        **files: Unpack[Files],
    ) -> Animator:
        """Load a model; every file is checked against every other before any is read.

        Args:
            model: a name, a file or a diffusers folder.
            runtime: where to run; a GPU if there is one.
            most_loras: how many LoRAs are kept in memory between requests.
            files: ``motion``, ``vae``, ``adapter``, ... as in ``AnimationRequest``. Requests need not
                name them again, and may give other LoRAs and other scales.

        Raises:
            InputError: a name, a device or a precision is unknown.
            FileError: a file is broken, or is not what was asked for.
            MemoryLimitError: the model does not fit.
        """
        request = replace(AnimationRequest("", model=model), **files).validated()
        animator = cls._of(request, runtime=runtime, most_loras=most_loras)
        return replace(animator, own_loras=request.loras)

    @classmethod
    def for_request(
        cls,
        request: AnimationRequest,
        *,
        runtime: Runtime | None = None,
        most_loras: int = MOST_LORAS,
    ) -> Animator:
        """Load what a request names; raises as ``load`` does."""
        check_request(request)
        check_input_files(request)
        return cls._of(request, runtime=runtime, most_loras=most_loras)

    @classmethod
    def _of(
        cls, request: AnimationRequest, *, runtime: Runtime | None, most_loras: int
    ) -> Animator:
        runtime = runtime or Runtime()
        parts = load_parts(
            Loaded.of(request), loras=request.loras, most_loras=most_loras, runtime=runtime
        )
        return cls(runtime=runtime, **vars(parts))

    @property
    def motion_loras(self) -> tuple[LoadedLowRank, ...]:
        """The MotionLoRAs, whose scales each request gives."""
        return self.added.get("motion-lora", ())

    @property
    def words(self) -> tuple[Word, ...]:
        """The learned words that prompts may name."""
        return self.added.get("embedding", ())

    @property
    def controls(self) -> tuple[LoadedControl, ...]:
        """The control networks, in the order of the requests that they are for."""
        return self.added.get("control", ())

    def to(self, device: str) -> Animator:
        """Move what is loaded to a device such as ``cuda:1``, in place; returns the animator there.

        The precision does not change.

        Raises:
            InputError: the device is unknown, or this machine does not have it.
        """
        runtime = replace(self.runtime, device=device)
        base = move(self.base, self.animated, self.added, device=runtime.torch_device())
        loras = LoraCache(base, most=self.loras.most)
        picture = self.picture and self.picture.to(runtime.torch_device())
        return replace(self, base=base, runtime=runtime, loras=loras, picture=picture)

    def animate(
        self,
        request: AnimationRequest | str,
        *,
        on_step: Callable[[Progress], None] = ignore,
        should_stop: Callable[[], bool] = never,
        **choices: Unpack[Choices],
    ) -> Animation:
        """Make the animation that a request determines; not from two threads at once.

        Args:
            request: what to make, or just the prompt; what is loaded need not be named.
            choices: fields of the request that override it, such as ``seed=7``. ``init`` may also be
                frames: uint8 of ``f h w 3``, a tensor ``f 3 h w`` from 0 to 1, or pictures of Pillow.
            on_step: called after every step.
            should_stop: asked before every step.

        Raises:
            InputError: the request cannot be, or is for another model.
            Cancelled: ``should_stop`` said so.
            NumericalError: NaN or infinity, named by its step.
            MemoryLimitError: the request needs more memory than there is.
        """
        from animatediff.model.fast.drawing import draw_fast  # imports diffusers

        asked = chosen(request, choices, loras=self.own_loras)
        source = read_source(asked, frames_in(choices))
        settled = settle(asked, self.model, source=source or picture_source(asked))
        self.loras.make_room([path for path, _ in settled.styles])
        with ExitStack() as stack:
            stack.enter_context(memory_named("The animation"))
            camera = stack.enter_context(
                camera_of(
                    settled,
                    camera=next(iter(self.added.get("camera", ())), None),
                    animated=self.animated,
                )
            )
            weights = stack.enter_context(
                changed_weights(
                    settled,
                    styles=[self.loras.read(path) for path, _ in settled.styles],
                    adapter=next(iter(self.added.get("adapter", ())), None),
                    motion_loras=self.motion_loras,
                )
            )
            stack.callback(draw_fast(self.animated, self.runtime).remove)
            if settled.request.free_u != "off":
                free_u = FreeU(
                    self.base.unet, factors_for(self.base.unet), version=settled.request.free_u
                )
                stack.callback(free_u.remove)
            stack.enter_context(torch.inference_mode())
            inner = [
                stack.enter_context(views_in(self.animated, plan=settled.views)),
                stack.enter_context(motion_strength_of(settled, animated=self.animated)),
                stack.enter_context(
                    image_prompts_of(
                        settled,
                        adapters=self.added.get("ip-adapter", ()),
                        encoders=self.added.get("image-encoder", ()),
                        base=self.base,
                    )
                ),
            ]
            paths = stack.enter_context(
                object_motion_of(
                    settled,
                    motion=next(iter(self.added.get("object-motion", ())), None),
                    animated=self.animated,
                )
            )
            moved = stack.enter_context(
                moved_picture(settled, reads=self.picture, base=self.base, family=self.family)
            )
            watch = Watch(settled, self.base, on_step, should_stop)
            return self._animate(
                settled, watch, weights, [*inner, *camera, *paths, *moved.inner], source, moved
            )

    def resolved(self, request: AnimationRequest | str) -> AnimationRequest:
        """The request with every choice that was left to the model filled in.

        Raises:
            InputError: the request cannot be, or is for another model or precision.
        """
        asked = chosen(request, {}, loras=self.own_loras)
        source = read_source(asked, None) or picture_source(asked)
        return settle(asked, self.model, source=source).request

    @property
    def model(self) -> Model:
        """What the loaded files decide of a request."""
        return Model.of(
            self.base,
            family=self.family,
            loaded=self.loaded,
            motion_loras=self.motion_loras,
            words=self.words,
            ways=ways_of((control.network for control in self.controls), self.picture),
        )

    def _animate(
        self,
        settled: Settled,
        watch: Watch,
        weights: ChangedWeights,
        inner: Sequence[Around],
        source: Source | None,
        moved: Moved,
    ) -> Animation:
        """Text, what is wrapped around the model, latents, frames: the order of work."""
        clock = [time.perf_counter()]
        texts = read_texts(settled, base=self.base, words=self.words)
        predict_noise = self._predicting(settled, texts, [*inner], weights, last=moved.outer)
        beginning = begin_from(
            source,
            settled,
            base=self.base,
            words=self.words,
            animated=self.animated,
            arounds=[*inner, weights.around, partial(over_windows, plan=settled.windows)],
        )
        clock.append(time.perf_counter())
        latents = draw_latents(
            settled,
            base=self.base,
            family=self.family,
            predict_noise=predict_noise,
            watch=watch,
            init=moved.latents if source is None else beginning.latents,
            unguided=beginning.unguided,
        )
        if settled.request.hires != 1:
            large = second_pass(settled, unit=self.base.pixels_per_latent)
            latents = draw_latents(
                large,
                base=self.base,
                family=self.family,
                predict_noise=self._predicting(large, texts, [*inner], weights),
                watch=replace(watch, settled=large),
                init=enlarged(
                    latents,
                    large,
                    base=self.base,
                    decode=lambda small: decode(small, vae=self.base.vae, runtime=self.runtime),
                    encode=lambda frames: encoded(frames, vae=self.base.vae),
                ),
            )
        clock.append(time.perf_counter())
        frames = decode(
            latents,
            vae=self.base.vae,
            runtime=self.runtime,
            tile=settled.request.vae_tile,
            on_step=lambda done: watch.decoded(done, latents),
            should_stop=watch.should_stop,
        )
        if settled.request.sparse_colours:
            frames = like_their_pictures(frames, sparse_pictures(settled))
        if settled.request.image_colours and moved.picture is not None:
            frames = like_their_pictures(frames, {0: moved.picture})
        clock.append(time.perf_counter())
        request = settled.request
        video = finished(
            Video(frames, request.rate),
            finish_of(request, device=str(self.base.unet.device)),
            on_frame=lambda stage, done, of: watch.finished(stage, done, of, latents),
        )
        clock.append(time.perf_counter())
        report = report_on(
            settled,
            loaded=self.loaded,
            family=self.family,
            notes=(*self.notes, *moved.notes(frames[0])),
            styles={path: self.loras.read(path) for path, _ in settled.styles},
            files=self.files,
            words=self.words,
            device=self.base.unet.device,
            clock=clock,
        )
        return Animation(video, settled.request, latents.cpu(), report, sound_of(settled.request))

    def _predicting(
        self,
        settled: Settled,
        texts: Texts,
        inner: Sequence[Around],
        weights: ChangedWeights,
        last: Sequence[Around] = (),
    ) -> PredictNoise:
        """The model with control networks and everything that is wrapped around it."""
        controls = build_controls(settled, controls=self.controls, texts=texts, base=self.base)
        predict_noise = model_noise(self.animated, texts=texts, controls=controls)
        outer = wrappers(
            settled,
            unet=self.base.unet,
            unit=self.base.pixels_per_latent,
            weights=weights,
            sampler=new_sampler(settled, base=self.base, family=self.family),
        )
        for around in (*inner, *outer, *last):
            predict_noise = around(predict_noise)
        return predict_noise


def wrappers(
    settled: Settled,
    *,
    unet: UNet2DConditionModel,
    unit: int,
    weights: ChangedWeights,
    sampler: Sampler,
) -> list[Around]:
    """What is wrapped around the model's prediction, the innermost first.

    Args:
        settled: the request.
        unet: the image model.
        unit: pixels along a side that a latent stands for.
        weights: the changed weights that are in place.
        sampler: of the request.
    """
    perturbed = partial(
        away_from_perturbed,
        unet=unet,
        scale=settled.request.perturbed_attention,
        guidance=settled.guidance,
    )
    joined = weights_of(settled)
    return [
        partial(composed, weights=joined),
        partial(regional, first_row=1 + len(joined), shares=region_shares(settled, unit=unit)),
        perturbed,
        guidance_of(settled, sampler=sampler, unmoved=weights.unmoved),
        weights.around,
        partial(over_windows, plan=settled.windows),
    ]
