"""Do motion modules animate a personalised model whose style is in no clip?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.reports import Row
from animatediff.world.protocol.motion import MotionMarks, measure_all
from animatediff.world.protocol.subjects import Draw, Subject, Watch, nobody
from animatediff.world.scoring.scorer import Scorer


@dataclass(frozen=True)
class TransferReport:
    """Results of personalised models with unchanged motion modules.

    Attributes:
        style: the personalised style.
        base: the base model's animations, in the clips' style.
        personalised: the animations of each personalised model; ``flow_to_reference`` is to the
        base.
    """

    style: str
    base: MotionMarks
    personalised: Mapping[str, MotionMarks]

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        rows = [
            Row("base: median foreground flow, px per 1/8 s", str(self.base.flow)),
            Row("base: asked style named, of all frames", str(self.base.style_named)),
        ]
        for name, marks in self.personalised.items():
            ratio, named = marks.flow_to_reference, marks.style_named
            rows += [
                Row(
                    f"{name}: flow over the base's", str(ratio), "at least 0.5", ratio.value >= 0.5
                ),
                Row(
                    f"{name}: {self.style} named, of all frames",
                    str(named),
                    "at least 85 %",
                    named.share >= 0.85,
                ),
                Row(f"{name}: concept among the first 5 in the first frame", str(marks.recognised)),
                Row(f"{name}: frozen", str(marks.frozen)),
                Row(f"{name}: falling apart", str(marks.falling_apart)),
                Row(f"{name}: text score", str(marks.text)),
            ]
        return tuple(rows)


def in_style(subject: Subject, *, style: str, phrase: str, was: str) -> Subject:
    """Replace the style's phrase ``was`` in a subject's prompt by ``phrase``.

    Raises:
        InputError: the prompt does not contain ``was``.
    """
    if was not in subject.prompt:
        raise InputError(f"The prompt {subject.prompt!r} does not say {was!r}.")
    prompt = subject.prompt.replace(was, phrase)
    return dataclasses.replace(subject, style=style, prompt=prompt)


def judge_transfer(
    base: Draw,
    personalised: Mapping[str, Draw],
    clips: Sequence[Sample],
    *,
    scorer: Scorer,
    style: str,
    phrase: str,
    seed: int = 0,
    watch: Watch = nobody,
) -> TransferReport:
    """Animate the same prompts with the base and, with the new style's phrase, with each model.

    Args:
        base: the base model with the motion modules.
        personalised: models of the new style, by name, with the same motion modules.
        clips: real clips whose captions are the prompts.
        scorer: the judge; it must know the style.
        style: the new style's name.
        phrase: its phrase in captions.
        seed: of the drawings.
        watch: called with the progress, model by model.

    Raises:
        InputError: the scorer does not know the style.
    """
    if style not in scorer.facts.styles:
        raise InputError(
            f"The scorer knows no style {style!r}, only {', '.join(scorer.facts.styles)}."
        )
    subjects = [Subject.of(clip, seed=seed) for clip in clips]
    restyled = [
        in_style(subject, style=style, phrase=phrase, was=str(clip.meta["style_phrase"]))
        for clip, subject in zip(clips, subjects, strict=True)
    ]
    of_base = measure_all(base, subjects, scorer=scorer, watch=watch)
    return TransferReport(
        style=style,
        base=MotionMarks.of(of_base, reference=of_base),
        personalised={
            name: MotionMarks.of(
                measure_all(draw, restyled, scorer=scorer, watch=watch), reference=of_base
            )
            for name, draw in personalised.items()
        },
    )
