"""The animator: a loaded model that turns requests into videos.

Inference as in Sec. 4.4 of Guo et al., arXiv 2307.04725: a personalised image model, and grafted into
it motion modules that were trained once, without it. ``making.py`` has the order of work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Unpack

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.runtime import Runtime
from animatediff.sampling.animation import Animation, Progress
from animatediff.sampling.choosing.keywords import Choices, Files, chosen, frames_in
from animatediff.sampling.choosing.window_place import room_of
from animatediff.sampling.image_to_video.picture import picture_source
from animatediff.sampling.image_to_video.way import ways_of
from animatediff.sampling.inputs import check_input_files
from animatediff.sampling.loaded.free_memory import check_room
from animatediff.sampling.loaded.loading import Loaded, Parts, load_parts, move
from animatediff.sampling.loaded.lora_cache import MOST_LORAS, LoraCache
from animatediff.sampling.loaded.memory_need import MemoryNeed, memory_need
from animatediff.sampling.making import make
from animatediff.sampling.metadata import load_request
from animatediff.sampling.request import AnimationRequest, check_request
from animatediff.sampling.settled import Model, Settled, settle
from animatediff.sampling.video_to_video.begin import read_source
from animatediff.sampling.watch import Watch, ignore, never
from animatediff.weights.adapters import LoadedLowRank
from animatediff.weights.control.loader import LoadedControl
from animatediff.weights.families import Family
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.motion_picture import PictureInput
from animatediff.weights.roles import RoleName
from animatediff.weights.textual_inversion import Word

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
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Animator:
        """Load what a request names; raises as ``load`` does.

        Raises:
            Cancelled: ``should_stop`` said so; it is asked before each network is read.
        """
        check_request(request)
        check_input_files(request)
        return cls._of(request, runtime=runtime, most_loras=most_loras, should_stop=should_stop)

    @classmethod
    def _of(
        cls,
        request: AnimationRequest,
        *,
        runtime: Runtime | None,
        most_loras: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Animator:
        runtime = runtime or Runtime()
        parts = load_parts(
            Loaded.of(request),
            loras=request.loras,
            most_loras=most_loras,
            runtime=runtime,
            should_stop=should_stop,
        )
        return cls(runtime=runtime, **vars(parts))

    @property
    def parts(self) -> Parts:
        """Everything that was loaded, as one value."""
        return Parts(**{field.name: getattr(self, field.name) for field in fields(Parts)})

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
        if runtime.memory == "low":
            base = replace(self.base, device=runtime.torch_device())
        else:
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
        asked = chosen(request, choices, loras=self.own_loras)
        source = read_source(asked, frames_in(choices))
        settled = settle(asked, self.model, source=source or picture_source(asked))
        check_room(settled, self.parts, runtime=self.runtime)
        self.loras.make_room([path for path, _ in settled.styles])
        watch = Watch(settled, self.base, on_step, should_stop)
        return make(settled, self.parts, runtime=self.runtime, source=source, watch=watch)

    def settled(self, request: AnimationRequest | str) -> Settled:
        """The request with every choice made, as ``animate`` would make it.

        Raises:
            InputError: the request cannot be, or is for another model or precision.
        """
        asked = chosen(request, {}, loras=self.own_loras)
        source = read_source(asked, None) or picture_source(asked)
        return settle(asked, self.model, source=source)

    def resolved(self, request: AnimationRequest | str) -> AnimationRequest:
        """The request with every choice that was left to the model filled in; raises as ``settled``."""
        return self.settled(request).request

    def memory_need(self, request: AnimationRequest | str) -> MemoryNeed:
        """How much memory a request will need at its peak; raises as ``settled``."""
        return memory_need(self.settled(request), self.parts, runtime=self.runtime)

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
            quantise=self.runtime.quantise,
            # A compiled model is compiled anew for each number of frames that it sees together.
            room=None if self.runtime.compile else room_of(self.animated),
        )
