"""Does a thing do what its prompt says, such as "a wrench spinning", and is it still that thing?

Each action is recognised by a measure of its own, taken from the frames alone: rotation for spinning,
the vertical course for bouncing, size for pulsing, and so on. Two controls show what the measures are
worth: art that acts by rule, and how often an animation passes the measures of the other actions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from animatediff.data.shards import Sample
from animatediff.evaluation.intervals import Estimate, Share, mean_of, ratio_of_means
from animatediff.evaluation.motion_metrics import SIZE, foreground_of, resized
from animatediff.evaluation.motion_profile import ARM, motion_profile
from animatediff.evaluation.reports import Row
from animatediff.evaluation.similarity import text_score
from animatediff.video.actions import ACTIONS
from animatediff.world.protocol.subjects import Draw, Frames, Subject, Watch, nobody, sampled
from animatediff.world.scoring.scorer import Scorer

Track = Float[np.ndarray, " frames"]

ASKED = (
    "bounce",
    "grow",
    "nod",
    "pulse",
    "shake",
    "shrink",
    "spin",
    "squash",
    "sway",
    "to-and-fro",
)
"""The actions that are asked for, in turn."""


@dataclass(frozen=True)
class Outline:
    """Motion of a clip's foreground; lengths as shares of the picture's width.

    Attributes:
        x: distance of its centre from the left.
        y: distance of its centre from the top.
        top: its upper edge.
        bottom: its lower edge.
        size: square root of its area.
        tall: the logarithm of its height over its width.
        turn: clockwise rotation since the first frame, in radians.
    """

    x: Track
    y: Track
    top: Track
    bottom: Track
    size: Track
    tall: Track
    turn: Track


def outline_of(frames: Frames) -> Outline:
    """Measure the foreground of a clip on white."""
    small = resized(frames, side=SIZE)
    ink = foreground_of(small).astype(np.float64)
    ink += 1e-9  # an empty frame has its centre in the middle
    mass = ink.sum((1, 2))
    place = (np.arange(SIZE) + 0.5) / SIZE
    across, down = ink.sum(1) / mass[:, None], ink.sum(2) / mass[:, None]
    left, right = _edges(across, place)
    top, bottom = _edges(down, place)
    turns = motion_profile(small)[:, 3] / ARM
    return Outline(
        x=across @ place,
        y=down @ place,
        top=top,
        bottom=bottom,
        size=np.sqrt(mass) / SIZE,
        tall=np.log((bottom - top + 1e-3) / (right - left + 1e-3)),
        turn=np.concatenate([[0.0], turns.cumsum()]),
    )


def _edges(
    profile: Float[np.ndarray, "frames places"], place: Float[np.ndarray, " places"]
) -> tuple[Track, Track]:
    """Return the 1st and 99th percentile of the foreground's positions."""
    reached = profile.cumsum(axis=1)
    return place[(reached < 0.01).sum(axis=1)], place[(reached < 0.99).sum(axis=1)]


def _extent(track: Track) -> float:
    return float(np.ptp(track))


def _growth(outline: Outline) -> float:
    """Return the ratio of sizes of the last and first frames."""
    return float(outline.size[-3:].mean() / outline.size[:3].mean())


def _reversals(track: Track) -> int:
    """Count a track's reversals, ignoring steps below a fifth of a pixel."""
    steps = np.diff(track)
    ways = np.sign(steps[np.abs(steps) > 0.2 / SIZE])
    return int((ways[1:] != ways[:-1]).sum())


MEASURES: Mapping[str, Callable[[Outline], bool]] = {
    "bounce": lambda o: _extent(o.y) >= 0.05 and _extent(o.y) > _extent(o.x),
    "grow": lambda o: _growth(o) >= 1.15,
    "nod": lambda o: _extent(o.top) >= 0.03 and _extent(o.top) > 1.2 * _extent(o.bottom),
    "pulse": lambda o: _extent(np.log(o.size)) >= max(0.1, 1.2 * abs(float(np.log(_growth(o))))),
    "shake": lambda o: _reversals(o.x) >= 5 and _extent(o.x) >= 0.02,
    "shrink": lambda o: _growth(o) <= 1 / 1.15,
    "spin": lambda o: abs(float(o.turn[-1])) >= np.pi / 2,
    "squash": lambda o: _extent(o.tall) >= 0.15,
    "sway": lambda o: (
        (_extent(o.turn) >= 0.1 or _extent(o.x) >= 0.05) and abs(float(o.turn[-1])) < np.pi / 2
    ),
    "to-and-fro": lambda o: _extent(o.x) >= 0.05 and _extent(o.x) > _extent(o.y),
}
"""Whether an outline moves as each action does."""


@dataclass(frozen=True)
class Acted:
    """An animation of a thing that should do an action.

    Attributes:
        subject: the subject; its prompt names the action.
        action: a key of ``MEASURES``.
        right: whether its action was detected.
        others: share of the other actions that were detected.
        text: text score of the frames for the thing without the action.
        still_text: the same for the still of the thing.
    """

    subject: Subject
    action: str
    right: bool
    others: float
    text: float
    still_text: float


@dataclass(frozen=True)
class ActionsReport:
    """Whether actions are done, and whether things stay recognisable."""

    right: Share
    others: Estimate
    text_to_stills: Estimate
    by_action: Mapping[str, Share]
    by_rule: Share
    by_rule_others: Estimate
    by_rule_by_action: Mapping[str, Share]
    animations: tuple[Acted, ...]

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        rows = [
            Row(
                "does what the prompt says",
                str(self.right),
                "at least 80 %",
                self.right.share >= 0.8,
            ),
            Row("passes another action's measure, mean share", str(self.others)),
            Row(
                "text score against the thing alone, over its still's",
                str(self.text_to_stills),
                "at least 0.97",
                self.text_to_stills.value >= 0.97,
            ),
            Row("art that acts by rule: passes its own measure", str(self.by_rule)),
            Row("art that acts by rule: passes another's", str(self.by_rule_others)),
        ]
        for action, share in self.by_action.items():
            known = self.by_rule_by_action.get(action)
            rows.append(Row(f"{action}, and by rule", f"{share}; {known}"))
        return tuple(rows)


def without_clips(
    stills: Iterable[Sample], clips: Iterable[Sample], *, count: int, seed: int
) -> tuple[Subject, ...]:
    """Return training concepts without real clips, each in one of the base's styles."""
    moving = {clip.meta["hexcode"] for clip in clips}
    by_concept: dict[str, dict[str, Subject]] = {}
    for still in stills:
        meta = still.meta
        known = meta["split"] == "train" and not meta["held_out_style"]
        if known and meta["hexcode"] not in moving:
            subject = Subject.of(still, seed=seed)
            by_concept.setdefault(subject.hexcode, {})[subject.style] = subject
    chosen: list[Subject] = []
    for code in sorted(by_concept):
        styles = by_concept[code]
        digest = hashlib.sha256(f"action/{seed}/{code}".encode()).digest()
        chosen.append(styles[sorted(styles)[digest[0] % len(styles)]])
    return sampled(chosen, limit=count, seed=seed)


def prompt_with(subject: Subject, action: str) -> str:
    """Return the prompt of a subject with an action: "wrench spinning, flat style"."""
    words = ACTIONS[action].words[0]
    return subject.prompt.replace(subject.label, f"{subject.label} {words}", 1)


def judge_actions(
    still: Draw,
    moving: Draw,
    subjects: Sequence[Subject],
    *,
    scorer: Scorer,
    by_rule: Iterable[tuple[str, Frames]] = (),
    watch: Watch = nobody,
) -> ActionsReport:
    """Animate each subject with one action and detect the action.

    Args:
        still: the image model alone.
        moving: the image model with its motion modules.
        subjects: each gets the next action of ``ASKED``.
        scorer: recognises the subject.
        by_rule: procedural clips with their actions, which show how reliable detection is.
        watch: called with the progress.
    """
    acted: list[Acted] = []
    for number, subject in enumerate(subjects):
        action = ASKED[number % len(ASKED)]
        words = scorer.embed_text([subject.prompt])[0]
        frames = moving(prompt_with(subject, action), seed=subject.seed)
        picture = still(subject.prompt, seed=subject.seed)[:1]
        right, others = _passed(frames, action)
        text, still_text = (
            text_score(scorer.judge(seen).embeddings, words) for seen in (frames, picture)
        )
        acted.append(Acted(subject, action, right, others, text, still_text))
        watch(number + 1, len(subjects))
    ruled = [(action, *_passed(frames, action)) for action, frames in by_rule if action in MEASURES]
    return ActionsReport(
        right=Share.of(a.right for a in acted),
        others=mean_of(a.others for a in acted),
        text_to_stills=ratio_of_means(
            (a.text for a in acted), reference=(a.still_text for a in acted)
        ),
        by_action={
            name: Share.of(a.right for a in acted if a.action == name)
            for name in sorted({a.action for a in acted})
        },
        by_rule=Share.of(right for _, right, _ in ruled),
        by_rule_others=mean_of(others for _, _, others in ruled),
        by_rule_by_action={
            name: Share.of(right for action, right, _ in ruled if action == name)
            for name in sorted({action for action, _, _ in ruled})
        },
        animations=tuple(acted),
    )


def _passed(frames: Frames, action: str) -> tuple[bool, float]:
    """Return whether an action is detected, and the share of other actions that are."""
    outline = outline_of(frames)
    passed = {name: bool(measure(outline)) for name, measure in MEASURES.items()}
    return passed[action], float(np.mean([passed[name] for name in MEASURES if name != action]))
