#!/usr/bin/env python
"""Draws docs/gallery.md: fixed prompts and seeds, each still beside its animation; nothing is picked.

usage: recipes/emoji/gallery.py [--motion NAME] [--seeds 0 1 2] [--docs docs] [--kept build/gallery]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from animatediff.evaluation.kept.animations import KeptAnimations, fingerprint_of
from animatediff.evaluation.presenting.figures import labelled_grid
from animatediff.runtime import Runtime
from animatediff.sampling.acting.words import action_in
from animatediff.sampling.animator import Animator
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.finding.builtin import resolve_lora

WITH_CLIPS = (
    "cat face, moving in place, 3d style",
    "dolphin, bouncing up and down, 3d style",
    "red heart, growing and shrinking, 3d style",
    "grinning face, moving in place, 3d style",
    "rocket, moving in place, 3d style",
    "butterfly, rocking, 3d style",
    "penguin, swaying from side to side, 3d style",
    "robot, moving in place, 3d style",
)
"""Things that real clips show, in the clips' own words."""
WITHOUT_CLIPS = (
    "wrench spinning, flat style",
    "teacup bouncing, twemoji style",
    "lamp swaying, gradient style",
    "pencil shaking, blob style",
    "bread pulsing, emojione style",
    "guitar nodding, flat style",
    "key sliding, twemoji style",
    "chair standing still, gradient style",
)
"""Things and actions that only stills, and stills that act by rule, have shown."""
SENTENCES = (
    "a kitten jumping",
    "an angry robot",
    "birthday cake with candles",
    "a happy sun over the sea",
    "a green dragon flying",
    "an old man laughing",
    "a small house in the snow",
    "two red balloons rising",
)
"""Sentences outside the labels that the model was trained with."""
STYLES = ("flat style", "twemoji style", "gradient style", "3d style")
CAMERAS = ("zoom-in", "pan-left", "tilt-up", "roll-clockwise")
FRAMES = (0, 5, 10, 15)
SIDE = 192
"""Pixels of a side of a frame in the gallery."""


@dataclass(frozen=True)
class Sheet:
    """One table of the gallery: its title, what a reader sees, and its rows."""

    name: str
    title: str
    text: str
    rows: tuple[tuple[str, AnimationRequest], ...]


def sheets(motion: str) -> tuple[Sheet, ...]:
    """Every sheet, the same for every seed."""

    def plain(prompts: Sequence[str]) -> tuple[tuple[str, AnimationRequest], ...]:
        return tuple((p, AnimationRequest(prompt=p, motion=motion)) for p in prompts)

    fox = AnimationRequest(prompt="fox, flat style", motion=motion)
    return (
        Sheet("clips", "Things with clips", "Real clips show these.", plain(WITH_CLIPS)),
        Sheet(
            "stills",
            "Things without clips",
            "In training, only stills showed these.",
            plain(WITHOUT_CLIPS),
        ),
        Sheet("sentences", "Sentences", "Words outside the training labels.", plain(SENTENCES)),
        Sheet(
            "styles",
            "Four styles, and Noto",
            "The same prompt in four styles of the base, and in Noto by a LoRA that never moved.",
            (
                *plain([f"cat face, {style}" for style in STYLES]),
                (
                    "cat face, noto style (LoRA)",
                    AnimationRequest(
                        prompt="cat face, noto style", motion=motion, loras=("noto:1",)
                    ),
                ),
            ),
        ),
        Sheet(
            "cameras",
            "Cameras and the domain adapter",
            "One prompt with four camera MotionLoRAs, and with the adapter of marked footage.",
            (
                *((name, replace(fox, motion_loras=(f"{name}:1",))) for name in CAMERAS),
                ("adapter emoji:1", replace(fox, adapter="emoji:1")),
            ),
        ),
    )


class Painter:
    """Loads each model once and draws each request once; drawings are kept as files."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self._loaded: dict[tuple[object, ...], tuple[Animator, KeptAnimations]] = {}

    def frames(self, request: AnimationRequest) -> np.ndarray:
        """The frames of a request."""
        one = request.validated()
        key = (one.motion, one.loras, one.motion_loras, one.adapter)
        if key not in self._loaded:
            animator = Animator.for_request(one, runtime=Runtime())
            loras = [resolve_lora(parse_lora(name)[0]) for name in one.loras]
            print_of = fingerprint_of([*animator.files.values(), *loras])
            self._loaded = {key: (animator, KeptAnimations(self.kept, fingerprint=print_of))}
        animator, kept = self._loaded[key]
        frames = kept.frames(animator, animator.resolved(one))
        shown = [
            Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            for frame in frames
        ]
        return np.stack([np.asarray(frame) for frame in shown])


def main() -> None:
    """Draw every sheet and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", default="emoji")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--kept", type=Path, default=Path("build/gallery"))
    options = parser.parse_args()
    painter = Painter(options.kept)
    media = options.docs / "media" / "gallery"
    media.mkdir(parents=True, exist_ok=True)
    seeds = ", ".join(map(str, options.seeds))
    page = [
        "# Gallery",
        "",
        "What the built-in model draws by default: the still is carried along the motion that was "
        "drawn (`--carry`), or does what a word such as *spinning* says (`--action`). The prompts and "
        "the seeds were fixed before anything was drawn, and nothing was picked.",
        f"Each row shows the still of the prompt (`--motion none`), then frames {_listed()} of the "
        f"animation with the same seed. Seeds: {seeds}.",
        "",
        "`python recipes/emoji/gallery.py` draws this page.",
    ]
    for sheet in sheets(options.motion):
        page += ["", f"## {sheet.title}", "", sheet.text]
        for seed in options.seeds:
            # All stills first: a model is loaded once for a run of rows that share it.
            seeded = [(name, replace(request, seed=seed)) for name, request in sheet.rows]
            stills = [
                painter.frames(replace(_still_of(r), motion_loras=(), adapter="", num_frames=1))
                for _, r in seeded
            ]
            rows = {
                name: [still[0], *(painter.frames(request)[f] for f in FRAMES)]
                for (name, request), still in zip(seeded, stills, strict=True)
            }
            columns = ["still", *(f"frame {frame}" for frame in FRAMES)]
            path = media / f"{sheet.name}-{seed}.webp"
            labelled_grid(rows, columns=columns).save(path, quality=75, method=6)
            alt = f"{sheet.title}, seed {seed}: {', '.join(rows)}"
            page += ["", f"![{alt}]({path.relative_to(options.docs).as_posix()})"]
            _say(f"{path}")
    target = options.docs / "gallery.md"
    target.write_text("\n".join(page) + "\n")
    _say(str(target))


def _still_of(request: AnimationRequest) -> AnimationRequest:
    """The request of the still that an animation begins from, without words for an action."""
    found = action_in(request.prompt)
    return replace(request, motion="none", prompt=request.prompt if found is None else found[1])


def _listed() -> str:
    return ", ".join(map(str, FRAMES[:-1])) + f" and {FRAMES[-1]}"


def _say(text: str) -> None:
    import sys

    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
