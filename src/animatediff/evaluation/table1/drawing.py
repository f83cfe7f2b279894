"""How each method of Table 1 draws, from one loaded personalised model; every drawing is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from animatediff.evaluation.baselines.inputs import latents_of, side_of, states_of
from animatediff.evaluation.baselines.text2video_zero import ZeroOptions, text2video_zero
from animatediff.evaluation.baselines.tune_a_video import (
    TRAINING,
    InflatedUNet,
    edit,
    invert,
    tune,
)
from animatediff.evaluation.kept.animations import fingerprint_of
from animatediff.evaluation.kept.frames import Frames, KeptFrames
from animatediff.evaluation.table1.plan import (
    CARRIED,
    OURS,
    TUNE,
    ZERO,
    Driving,
    Item,
    Personal,
    Settings,
)
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded.changed_weights import changed_weights
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.steps.decode import decode
from animatediff.video import Video
from animatediff.video.fit import fit_frames
from animatediff.weights.finding.builtin import resolve_lora
from animatediff.weights.storage.files import sha256_of


@dataclass(frozen=True)
class Kept:
    """Where work in progress is kept.

    Attributes:
        frames: drawings.
        tuned: runs of Tune-A-Video that are not finished.
    """

    frames: KeptFrames
    tuned: Path

    @classmethod
    def at(cls, folder: Path) -> Kept:
        """Keep everything below one folder."""
        return cls(KeptFrames(folder / "frames"), folder / "tuned")


class PersonalModel:
    """A personalised model that draws by every method. Models are loaded at their first use.

    Args:
        personal: the model.
        settings: how the methods draw.
        kept: where drawings are kept.
        runtime: device and precision of AnimateDiff; the baselines compute in fp32.
    """

    def __init__(
        self, personal: Personal, *, settings: Settings, kept: Kept, runtime: Runtime
    ) -> None:
        self.personal = personal
        self.settings = settings
        self.kept = kept
        self.runtime = runtime

    def _request(self, *, motion: str, num_frames: int, carry: float = 0) -> AnimationRequest:
        settings, personal = self.settings, self.personal
        return AnimationRequest(
            "a template",
            negative_prompt=personal.negative,
            model=personal.model,
            motion=motion,
            loras=personal.loras,
            embeddings=personal.embeddings,
            num_frames=num_frames,
            fps=settings.fps,
            steps=settings.steps or None,
            guidance=settings.guidance or None,
            upscale=1,
            action="none",  # the paper's method, without what is done to its frames afterwards
            carry=carry,
        ).validated()

    @cached_property
    def _moving(self) -> Animator:
        request = self._request(motion=self.personal.motion, num_frames=self.settings.num_frames)
        return Animator.for_request(request, runtime=self.runtime)

    @cached_property
    def _still(self) -> Animator:
        """The image model alone, in fp32: what the baselines and the references draw with."""
        runtime = replace(self.runtime, precision="fp32")
        return Animator.for_request(self._request(motion="none", num_frames=1), runtime=runtime)

    def _weights(self, animator: Animator) -> str:
        loras = [resolve_lora(parse_lora(name)[0]) for name in self.personal.loras]
        return fingerprint_of([*animator.files.values(), *loras])

    @cached_property
    def _still_weights(self) -> str:
        return self._weights(self._still)

    def references(self, item: Item) -> Frames:
        """Return pictures of the item's prompt by the image model alone, with other seeds."""
        asked = replace(
            self._request(motion="none", num_frames=1), prompt=item.prompt, seed=item.seed
        )
        asked = self._still.resolved(asked)
        pictures: list[Frames] = []
        for number in range(self.settings.references):
            request = replace(asked, seed=item.seed + 1 + number)
            facts = f"reference/{self._still_weights}/{_plain(asdict(request))}"
            pictures.append(
                self.kept.frames.frames(
                    facts,
                    lambda request=request: self._still.animate(request).video.frames,
                    num_frames=1,
                )
            )
        return np.concatenate(pictures)

    def animatediff(self, item: Item, *, carry: float = 0) -> Frames:
        """Return AnimateDiff's animation, or with ``carry`` a still that is carried along it."""
        frames = self.settings.num_frames
        asked = self._request(motion=self.personal.motion, num_frames=frames, carry=carry)
        request = self._moving.resolved(replace(asked, prompt=item.prompt, seed=item.seed))
        facts = f"animatediff/{self._weights(self._moving)}/{_plain(asdict(request))}"
        return self.kept.frames.frames(
            facts, lambda: self._moving.animate(request).video.frames, num_frames=frames
        )

    def text2video_zero(self, item: Item) -> Frames:
        """Return Text2Video-Zero's animation."""
        s = self.settings
        options = ZeroOptions(
            steps=s.zero_steps,
            t0=s.zero_t0,
            t1=s.zero_t1,
            guidance=s.zero_guidance,
            flow=s.zero_flow,
        ).validated()
        facts = f"zero/{self._still_weights}/{_plain(asdict(options))}/{self._asked(item)}"

        def draw() -> Frames:
            animator, side = self._still, side_of(self._still)
            with personalised(animator, self._request(motion="none", num_frames=1)):
                latents = text2video_zero(
                    animator.base.unet,
                    states=states_of(animator, [self.personal.negative, item.prompt]),
                    scheduler_config=animator.base.scheduler_config,
                    num_frames=s.num_frames,
                    size=(side, side),
                    seed=item.seed,
                    options=options,
                )
            return decode(latents, vae=animator.base.vae)

        return self.kept.frames.frames(facts, draw, num_frames=s.num_frames)

    def tune_a_video(self, items: list[Item], driving: Driving) -> Iterator[Frames]:
        """Return Tune-A-Video's animations of prompts that share a driving clip, one after the other.

        The model is tuned once, and not at all if every animation is kept already.
        """
        s = self.settings
        chosen = {name: value for name, value in asdict(s).items() if name.startswith("tune_")}
        clip = f"{sha256_of(Path(driving.file))}/{driving.caption}/{s.num_frames}"
        tuned = f"tune/{self._still_weights}/{_plain(chosen)}/{clip}"
        missing = [i for i in items if not self.kept.frames.has(f"{tuned}/{self._asked(i)}")]
        if missing:
            folder = self.kept.tuned / self.kept.frames.path(tuned).stem
            self._tuned(missing, driving, folder=folder, tuned=tuned)
            shutil.rmtree(folder, ignore_errors=True)
        for item in items:
            facts = f"{tuned}/{self._asked(item)}"
            yield self.kept.frames.frames(facts, _absent, num_frames=s.num_frames)

    def _tuned(self, items: list[Item], driving: Driving, *, folder: Path, tuned: str) -> None:
        s, animator = self.settings, self._still
        config, negative = animator.base.scheduler_config, self.personal.negative
        with ExitStack() as stack:
            stack.enter_context(personalised(animator, self._request(motion="none", num_frames=1)))
            video = Video.load(driving.file)
            latents, _ = latents_of(
                animator, repeated(video, s.num_frames), num_frames=s.num_frames
            )
            caption, empty = states_of(animator, [driving.caption, ""]).split(1)
            inflated = InflatedUNet(animator.base.unet)
            stack.callback(inflated.remove)
            tune(
                inflated,
                latents,
                states=caption,
                scheduler_config=config,
                folder=folder,
                options=replace(
                    TRAINING, steps=s.tune_train_steps, learning_rate=s.tune_learning_rate
                ),
            )
            noise = invert(
                inflated, latents, empty=empty, scheduler_config=config, steps=s.tune_steps
            )
            for item in items:
                drawn = edit(
                    inflated,
                    noise,
                    states=states_of(animator, [negative, item.prompt]),
                    scheduler_config=config,
                    steps=s.tune_steps,
                    guidance=s.tune_guidance,
                )
                frames = decode(drawn, vae=animator.base.vae)
                facts = f"{tuned}/{self._asked(item)}"
                self.kept.frames.frames(facts, lambda f=frames: f, num_frames=s.num_frames)

    def _asked(self, item: Item) -> str:
        words = [self.personal.loras, self.personal.embeddings, self.personal.negative]
        return _plain(
            [item.prompt, item.seed, self.settings.num_frames, *(str(word) for word in words)]
        )


Drawn = Callable[[str, Item, Frames], None]
"""Receives a method's name, the item and its frames."""


def draw_all(
    model: PersonalModel,
    items: list[Item],
    clips: tuple[Driving, ...],
    *,
    methods: tuple[str, ...],
    drawn: Drawn,
) -> None:
    """Draw every prompt of one personalised model by some methods.

    Args:
        model: the model.
        items: its prompts.
        clips: the driving clips.
        methods: names of ``DRAWN``.
        drawn: called with each animation.
    """
    simple: Mapping[str, Callable[[Item], Frames]] = {
        OURS: model.animatediff,
        CARRIED: partial(model.animatediff, carry=1),
        ZERO: model.text2video_zero,
    }
    for name, draw in simple.items():
        for item in items if name in methods else ():
            drawn(name, item, draw(item))
    if TUNE not in methods:
        return
    for number in sorted({item.clip for item in items}):
        group = [item for item in items if item.clip == number]
        for item, frames in zip(group, model.tune_a_video(group, clips[number]), strict=True):
            drawn(TUNE, item, frames)


@contextmanager
def personalised(animator: Animator, request: AnimationRequest) -> Generator[None]:
    """Merge a request's LoRAs into the image model inside this context."""
    settled = settle(request, animator.model)
    animator.loras.make_room([path for path, _ in settled.styles])
    with changed_weights(
        settled,
        styles=[animator.loras.read(path) for path, _ in settled.styles],
        adapter=None,
        motion_loras=(),
    ):
        yield


def repeated(video: Video, count: int) -> Video:
    """Return a video of at least ``count`` frames: a shorter one starts again."""
    numbers = np.arange(max(count, video.num_frames)) % video.num_frames
    return Video(video.frames[numbers], video.fps)


def driving_video(driving: Driving, *, settings: Settings, side: int) -> Video:
    """Return a driving clip as Tune-A-Video sees it, in pixels, at its own rate: a real clip."""
    video = repeated(Video.load(driving.file), settings.num_frames)
    frames = fit_frames(video.frames[: settings.num_frames], width=side, height=side)
    return Video(frames, video.fps)


def _plain(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _absent() -> Frames:
    raise AssertionError("an animation that was just drawn is kept")
