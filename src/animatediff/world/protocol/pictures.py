"""Is the picture right: the concept that was asked for, in the style that was asked for?"""

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
    """One drawn picture and what the scorer says of it."""

    subject: Subject
    rank1: bool
    rank5: bool
    style_named: str
    text: float


@dataclass(frozen=True)
class PicturesReport:
    """Whether the image model draws what was asked, in the style that was asked.

    Attributes:
        top1: the prompt's concept is the scorer's first of all concepts.
        top5: it is among the first five.
        style: the scorer names the asked style.
        text: mean text score of the pictures.
        by_style: (top5, style) for each asked style.
        num_labels: how many concepts the scorer chooses among.
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
        """The lines of its table."""
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
    """Every training concept once, in one of the base's styles that has it, chosen by ``seed``.

    Args:
        stills: all stills; held-out concepts and styles are passed over.
        limit: at most so many concepts, chosen at random.
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
    """Draw every subject once and let the scorer say what it sees; a picture is a first frame."""
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
