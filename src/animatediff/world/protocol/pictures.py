"""Does the image model draw the right concept in the right style?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from animatediff.data.shards import Sample
from animatediff.evaluation.intervals import Estimate, Share, mean_of
from animatediff.evaluation.reports import Row
from animatediff.evaluation.similarity import text_score
from animatediff.world.protocol.subjects import Draw, Subject, Watch, nobody, sampled
from animatediff.world.scoring.scorer import Scorer


@dataclass(frozen=True)
class Picture:
    """A drawn picture and the scorer's judgement."""

    subject: Subject
    rank1: bool
    rank5: bool
    style_named: str
    text: float


@dataclass(frozen=True)
class PicturesReport:
    """How often the image model draws the right concept and style.

    Attributes:
        top1: share with the prompt's concept as the scorer's first.
        top5: share with it among the first five.
        style: share in which the scorer recognises the style.
        text: mean text score of the pictures.
        by_style: (top5, style) of each style.
        num_labels: number of concepts that the scorer distinguishes.
        pictures: every picture.
    """

    top1: Share
    top5: Share
    style: Share
    text: Estimate
    by_style: Mapping[str, tuple[Share, Share]]
    num_labels: int
    pictures: tuple[Picture, ...]

    def rows(self) -> tuple[Row, ...]:
        """Rows of its table."""
        return (
            Row(
                f"prompt's concept among the scorer's first 5 of {self.num_labels}",
                str(self.top5),
                "at least 60 %",
                self.top5.share >= 0.6,
            ),
            Row("prompt's concept is the scorer's first", str(self.top1)),
            Row(
                "scorer names the asked style",
                str(self.style),
                "at least 90 %",
                self.style.share >= 0.9,
            ),
            Row("text score (100 x cosine)", str(self.text)),
            *(
                Row(
                    f"{name} style: concept among the first 5; style named",
                    f"{100 * top5.share:.1f} %; {100 * style.share:.1f} % (of {top5.total})",
                )
                for name, (top5, style) in self.by_style.items()
            ),
        )


def choose_pictures(
    stills: Iterable[Sample], *, limit: int | None = None, seed: int = 0
) -> tuple[Subject, ...]:
    """Choose every training concept once, in one of the base's styles.

    Args:
        stills: all stills; held-out concepts and styles are skipped.
        limit: largest number of concepts, chosen at random.
        seed: of the choice, and of the drawings.
    """
    by_concept: dict[str, dict[str, Subject]] = {}
    for sample in stills:
        if sample.meta["split"] == "train" and not sample.meta["held_out_style"]:
            subject = Subject.of(sample, seed=seed)
            by_concept.setdefault(subject.hexcode, {})[subject.style] = subject
    chosen: list[Subject] = []
    for code in sorted(by_concept):
        styles = by_concept[code]
        digest = hashlib.sha256(f"style/{seed}/{code}".encode()).digest()
        chosen.append(styles[sorted(styles)[digest[0] % len(styles)]])
    return sampled(chosen, limit=limit, seed=seed)


def judge_pictures(
    draw: Draw, subjects: Sequence[Subject], *, scorer: Scorer, watch: Watch = nobody
) -> PicturesReport:
    """Draw every subject once and let the scorer judge the first frame."""
    words = scorer.embed_text([subject.prompt for subject in subjects])
    pictures: list[Picture] = []
    for index, subject in enumerate(subjects):
        judgement = scorer.judge(draw(subject.prompt, seed=subject.seed)[:1])
        concept = scorer.index_of(subject.hexcode)
        pictures.append(
            Picture(
                subject=subject,
                rank1=bool(judgement.shows(concept, among=1)[0]),
                rank5=bool(judgement.shows(concept)[0]),
                style_named=judgement.styles[0],
                text=text_score(judgement.embeddings, words[index]),
            )
        )
        watch(index + 1, len(subjects))
    asked = sorted({picture.subject.style for picture in pictures})
    of_style = {a: [p for p in pictures if p.subject.style == a] for a in asked}
    return PicturesReport(
        top1=Share.of(picture.rank1 for picture in pictures),
        top5=Share.of(picture.rank5 for picture in pictures),
        style=_style_share(pictures),
        text=mean_of(picture.text for picture in pictures),
        by_style={
            name: (Share.of(p.rank5 for p in part), _style_share(part))
            for name, part in of_style.items()
        },
        num_labels=len(scorer.facts.labels),
        pictures=tuple(pictures),
    )


def _style_share(pictures: Iterable[Picture]) -> Share:
    return Share.of(picture.style_named == picture.subject.style for picture in pictures)
