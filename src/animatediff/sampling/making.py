"""Make one animation, in order: text, wrapped model, latents, frames, finishing, report."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float
from torch import Tensor

from animatediff.finishing.finish import finished
from animatediff.runtime import Runtime
from animatediff.sampling.acting.still import acting
from animatediff.sampling.animation import Animation
from animatediff.sampling.around.windows import over_windows
from animatediff.sampling.choosing.finish import finish_of
from animatediff.sampling.control.build import pictures_for_colours
from animatediff.sampling.control.colours import like_their_pictures
from animatediff.sampling.from_still import latents_of_still
from animatediff.sampling.image_to_video.moved import Moved
from animatediff.sampling.loaded.loading import Parts, files_used
from animatediff.sampling.loaded.memory import memory_named
from animatediff.sampling.predicting.attached import Attached, attached
from animatediff.sampling.predicting.prediction import prediction_of
from animatediff.sampling.report import report_on
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.steps.draw import draw_latents
from animatediff.sampling.steps.hires import enlarged, second_pass
from animatediff.sampling.text.conditions import Texts, read_texts
from animatediff.sampling.video_to_video.begin import begin_from
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.video_to_video.sound import sound_of
from animatediff.sampling.video_to_video.source import Source
from animatediff.sampling.watch import Watch
from animatediff.sampling.windows.loop_start import calmest_start, may_begin_anywhere
from animatediff.video import Video
from animatediff.video.carried import Frames, carried


def make(
    settled: Settled, parts: Parts, *, runtime: Runtime, source: Source | None, watch: Watch
) -> Animation:
    """Make the animation of a request, and leave the model as it was.

    Args:
        settled: the request.
        parts: the loaded model.
        runtime: where it runs.
        source: the video to begin from, if any.
        watch: called after every step.

    Raises:
        Cancelled: ``watch`` asked to stop.
        NumericalError: a step gave NaN or infinity.
        MemoryLimitError: the request needs more memory than there is.
    """
    with memory_named("The animation"), attached(settled, parts, runtime=runtime) as added:
        return _made(settled, parts, runtime=runtime, source=source, watch=watch, added=added)


def _made(
    settled: Settled,
    parts: Parts,
    *,
    runtime: Runtime,
    source: Source | None,
    watch: Watch,
    added: Attached,
) -> Animation:
    clock = [time.perf_counter()]
    base, words, moved = parts.base, parts.added.get("embedding", ()), added.moved
    texts = read_texts(settled, base=base, words=words)
    beginning = begin_from(
        source,
        settled,
        base=base,
        words=words,
        animated=parts.animated,
        arounds=[*added.inner, added.weights.around, partial(over_windows, plan=settled.windows)],
    )
    clock.append(time.perf_counter())
    still = latents_of_still(settled, parts, texts=texts, attached=added, watch=watch)
    moved_still = acting(still, settled, base=base, runtime=runtime, watch=watch)
    still = moved_still.latents
    predict_noise = prediction_of(
        settled, parts, texts=texts, attached=added, last=moved.outer, still=still
    )
    begun = (each for each in (still, beginning.latents, moved.latents) if each is not None)
    latents = draw_latents(
        settled,
        base=base,
        family=parts.family,
        predict_noise=predict_noise,
        watch=watch,
        init=next(begun, None),
        unguided=beginning.unguided,
    )
    if settled.request.hires != 1:
        latents = _drawn_larger(
            latents,
            settled,
            parts,
            still=still,
            texts=texts,
            added=added,
            runtime=runtime,
            watch=watch,
        )
    clock.append(time.perf_counter())
    frames = moved_still.frames
    if frames is None:
        frames = decode(
            latents,
            vae=base.vae,
            runtime=runtime,
            tile=settled.request.vae_tile,
            on_step=lambda done: watch.decoded(done, latents),
            should_stop=watch.should_stop,
        )
    else:
        watch.decoded(len(frames), latents)
    frames = _carried_and_coloured(
        frames, settled, parts, still=still, moved=moved, runtime=runtime
    )
    begins = calmest_start(frames) if may_begin_anywhere(settled.request) else 0
    if begins:
        frames, latents = np.roll(frames, -begins, axis=0), latents.roll(-begins, dims=2)
    clock.append(time.perf_counter())
    video = finished(
        Video(frames, settled.request.rate),
        finish_of(settled.request, device=str(base.device)),
        on_frame=lambda stage, done, of: watch.finished(stage, done, of, latents),
    )
    clock.append(time.perf_counter())
    report = report_on(
        settled,
        loaded=parts.loaded,
        family=parts.family,
        notes=(*parts.notes, *moved.notes(frames[0]), *_turned(begins)),
        styles={path: parts.loras.read(path) for path, _ in settled.styles},
        files=files_used(parts.files, settled.request),
        words=words,
        device=base.device,
        clock=clock,
    )
    return Animation(video, settled.request, latents.cpu(), report, sound_of(settled.request))


def _drawn_larger(
    latents: Float[Tensor, "b c f h w"],
    settled: Settled,
    parts: Parts,
    *,
    still: Float[Tensor, "b c _f h w"] | None,
    texts: Texts,
    added: Attached,
    runtime: Runtime,
    watch: Watch,
) -> Float[Tensor, "b c f large_h large_w"]:
    """Enlarge what was drawn and denoise it again: the second pass of ``--hires``."""
    base = parts.base
    large = second_pass(settled, unit=base.pixels_per_latent)
    enlarge = partial(
        enlarged,
        large=large,
        base=base,
        decode=lambda small: decode(small, vae=base.vae, runtime=runtime),
        encode=lambda frames: encoded(frames, vae=base.vae, device=base.device),
    )
    if still is not None and settled.request.controls:
        still = enlarge(still[:, :, :1])  # what control networks are shown again
    return draw_latents(
        large,
        base=base,
        family=parts.family,
        predict_noise=prediction_of(large, parts, texts=texts, attached=added, still=still),
        watch=replace(watch, settled=large),
        init=enlarge(latents),
    )


def _carried_and_coloured(
    frames: Frames,
    settled: Settled,
    parts: Parts,
    *,
    still: Float[Tensor, "b c _f small_h small_w"] | None,
    moved: Moved,
    runtime: Runtime,
) -> Frames:
    """Carry the still along the frames' motion, and give frames the colours of their pictures."""
    request, base = settled.request, parts.base
    if request.carry:
        picture = frames[0]
        if still is not None and request.hires == 1:
            tile = request.vae_tile
            picture = decode(still[:, :, :1], vae=base.vae, runtime=runtime, tile=tile)[0]
        frames = carried(picture, frames, speed=request.carry, rate=request.rate, loop=request.loop)
    if request.sparse_colours:
        networks = parts.added.get("control", ()) if request.controls else ()
        frames = like_their_pictures(frames, pictures_for_colours(settled, networks))
    if request.image_colours and moved.picture is not None:
        frames = like_their_pictures(frames, {0: moved.picture})
    return frames


def _turned(begins: int) -> list[str]:
    """A note if a loop was begun elsewhere than at its first window."""
    return [f"The loop begins at frame {begins}, where neighbours differ least."] if begins else []
