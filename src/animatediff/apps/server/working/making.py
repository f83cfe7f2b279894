"""Makes the jobs of a worker with loaded models."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from animatediff.apps.destination import slug
from animatediff.apps.options.machine import runtime_of, suited
from animatediff.apps.server.formats import RESULT_FORMATS, zip_of
from animatediff.apps.server.incoming.outside import FOLLOW_UPLOADS, takes, with_paths
from animatediff.apps.server.working.pool import Pool
from animatediff.apps.server.working.worker import Made, Step, WorkerSettings
from animatediff.errors import Cancelled, MemoryLimitError
from animatediff.model.eight_bits import bytes_of as bytes_of_weight
from animatediff.options.declaration import declared
from animatediff.runtime import Quantisation, Runtime
from animatediff.sampling.animator import Animation, Animator, Progress
from animatediff.sampling.loaded.loading import Loaded, files_named
from animatediff.sampling.metadata import describe
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

if TYPE_CHECKING:
    from PIL.Image import Image

CPU_SHARE, GPU_SHARE = 0.5, 0.6
"""The part of a device's memory that loaded models may take; the rest is for what they compute."""
THUMBNAIL_SIDE = 256
JPEG_QUALITY = 80
PREVIEW_SIDE = 1024


@dataclass(frozen=True)
class Needed:
    """What a request needs to be loaded.

    Attributes:
        loaded: the files.
        precision: in which it runs.
        quantise: how its weights are stored in 8 bits, if they are.
    """

    loaded: Loaded
    precision: str
    quantise: Quantisation | None = None

    def serves(self, wanted: object) -> bool:
        """Whether a model that was loaded for this does for another request, to the same bits."""
        return (
            isinstance(wanted, Needed)
            and wanted.loaded == self.loaded
            and (wanted.precision, wanted.quantise) == (self.precision, self.quantise)
            and set(wanted.loaded.typed) <= set(self.loaded.typed)
        )


class AnimationMaker:
    """Makes animations with a pool of animators.

    Args:
        runtime: where to run.
        pool: the loaded models.
    """

    def __init__(self, runtime: Runtime, pool: Pool[Animator]) -> None:
        self.runtime = runtime
        self.pool = pool

    @classmethod
    def of(cls, settings: WorkerSettings) -> AnimationMaker:
        """The maker of one worker."""
        runtime = runtime_of(settings)
        runtime.apply()
        device = runtime.torch_device()
        most = settings.model_bytes or _memory_for_models(device, settings.workers)
        return cls(runtime, Pool(most=most, size_of=bytes_of, release=_empty_cache))

    @property
    def models(self) -> tuple[str, ...]:
        """What is loaded, a line each."""
        return tuple(
            f"{held.value.base.name}, motion {Path(held.value.loaded.motion).stem}"
            for held in self.pool.held
        )

    def make(
        self,
        request: Mapping[str, Any],
        *,
        path_of: Callable[[str], str],
        on_step: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> Made:
        """Make what a stored request asks for.

        Raises:
            Cancelled: ``should_stop`` said so.
            InputError, FileError, MemoryLimitError, NumericalError: see ``errors.py``.
        """
        asked = AnimationRequest.from_table(dict(request))
        placed = AnimationRequest.from_table(with_paths(request, path_of))
        on_step(Step("load", 0, 1))
        notes: tuple[str, ...] = ()
        animator = self._animator(placed, should_stop=should_stop)
        if should_stop():
            raise Cancelled
        report = _reports_to(on_step)
        try:
            animation = animator.animate(placed, on_step=report, should_stop=should_stop)
        except MemoryLimitError:
            if len(self.pool.held) < 2:
                raise
            animation = None
        if animation is None:  # outside of the error, which holds on to memory
            self.pool.keep_only(animator)
            notes = ("Other loaded models were dropped to make room for this one.",)
            animation = animator.animate(placed, on_step=report, should_stop=should_stop)
        return _made(_without_paths(animation, asked), notes)

    def _animator(self, request: AnimationRequest, *, should_stop: Callable[[], bool]) -> Animator:
        runtime = suited(self.runtime, request)
        needed = Needed(Loaded.of(request), str(runtime.torch_dtype()), request.quantise)
        estimate = sum(path.stat().st_size for path in files_named(request).values())

        def load() -> Animator:
            # A model that requests share, without the LoRAs, which each request says.
            return Animator.for_request(request, runtime=runtime, should_stop=should_stop)

        return self.pool.get(needed, load=load, estimate=estimate)


def bytes_of(animator: Animator) -> int:
    """How much memory an animator takes, without the LoRAs that it keeps."""
    networks = [
        *animator.base.networks.values(),
        animator.animated.motion,
        animator.base.pending_vae.part.module,
    ]
    parameters = sum(
        bytes_of_weight(tensor)
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    )
    own = {str(path) for path in animator.base.files.values()}
    others = [path for path in animator.files.values() if str(path) not in own]
    return parameters + sum(path.stat().st_size for path in others)


def _memory_for_models(device: torch.device, workers: int) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * GPU_SHARE)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 8 << 30
    return int(memory * CPU_SHARE / workers)


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _reports_to(on_step: Callable[[Step], None]) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        def preview() -> bytes:
            return jpeg(progress.preview(), side=PREVIEW_SIDE)

        on_step(Step(progress.stage, progress.step, progress.steps, preview))

    return report


def _without_paths(animation: Animation, asked: AnimationRequest) -> Animation:
    """The animation with inputs named as they were, by hash, so that no file tells a path."""
    inputs = {
        row.field: getattr(asked, row.field)
        for row in declared(AnimationRequest)
        if takes(row) in FOLLOW_UPLOADS
    }
    return replace(animation, request=replace(animation.request, **inputs))


def _made(animation: Animation, notes: tuple[str, ...]) -> Made:
    request, video = animation.request, animation.video
    metadata = describe(request, animation.report)
    first = next(iter(request.prompts.values()), "")

    def write(kind: str, temporary: Callable[[str], Path]) -> list[tuple[Path, str]]:
        chosen = RESULT_FORMATS[kind]

        def save(clip: Video, path: Path) -> Path:
            return clip.save(path, metadata=metadata, format=chosen.kind, sound=animation.sound)

        if chosen.frames == "whole":
            return [(save(video, temporary(chosen.suffix)), chosen.media_type)]
        frames = [Video(frame[None], video.fps) for frame in video.frames]
        if chosen.frames == "each":
            return [(save(frame, temporary(chosen.suffix)), chosen.media_type) for frame in frames]
        pictures = [functools.partial(save, frame) for frame in frames]
        return [(zip_of(pictures, temporary=temporary), chosen.media_type)]

    return Made(
        resolved=request.as_table(),
        notes=(*animation.report.notes, *notes),
        seconds={name: round(seconds, 3) for name, seconds in animation.report.seconds.items()},
        name=f"{slug(request.prompt or first)}-{request.seed}",
        thumbnail=jpeg(animation.to_pil()[0], side=THUMBNAIL_SIDE),
        write=write,
    )


def jpeg(picture: Image, *, side: int) -> bytes:
    """A picture as a JPEG whose longer side is at most ``side`` pixels."""
    picture.thumbnail((side, side))
    data = io.BytesIO()
    picture.convert("RGB").save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue()
