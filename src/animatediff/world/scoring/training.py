"""Train the independent scorer on the stills alone, and measure how well it can judge at all.

It learns from training concepts in every style, the held-out ones included (it must name Noto),
except for a tenth of the (concept, style) pairs, on which its own ceiling on real pictures is
measured. It never sees a generated picture, nor a clip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from animatediff.data.shards import Sample, on_white
from animatediff.errors import FileError, InputError
from animatediff.evaluation.intervals import Share
from animatediff.evaluation.reports import Row
from animatediff.runtime import channels_last, seeded
from animatediff.world.scoring.lite0 import Lite0, published_lite0
from animatediff.world.scoring.scorer import Judgement, Scorer, ScorerFacts, style_features
from animatediff.world.scoring.sentences import SentenceEncoder
from animatediff.world.scoring.stored_features import (
    Description,
    Still,
    StoredFeatures,
    stored_features,
)
from animatediff.world.scoring.views import may_flip, style_view, view_of


def _ignore(done: int) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class ScorerOptions:
    """How the scorer is trained.

    Attributes:
        size: side in px at which the network looks at pictures.
        num_views: views of each still: itself, and varied ones.
        num_style_views: the same for the style head.
        num_components: whitened directions of feature space that the concept head reads.
        hidden: width of the concept head's correction.
        style_hidden: width of the style head.
        epochs: passes over all views.
        batch: rows per step.
        learning_rate: of AdamW, falling to zero along a cosine.
        decay: weight decay.
        dropout: share of the features hidden from a head at each step.
        smoothing: share of the probability given to every label alike.
        alignment: weight of the cosine loss, which keeps pictures near the words, not only nearer
            than others.
        seed: of everything drawn at random.
    """

    size: int = 192
    num_views: int = 3
    num_style_views: int = 3
    num_components: int = 768
    hidden: int = 1024
    style_hidden: int = 256
    epochs: int = 20
    batch: int = 512
    learning_rate: float = 1e-3
    decay: float = 0.1
    dropout: float = 0.3
    smoothing: float = 0.05
    alignment: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Ceiling:
    """How often the scorer is right about real pictures: nothing judged by it can do better."""

    top1: Share
    top5: Share
    style: Share


@dataclass(frozen=True)
class ScorerReport:
    """The scorer's own marks.

    Attributes:
        held_out_pairs: training concepts in a style in which the scorer never saw them.
        unseen_concepts: concepts that it never saw in any style, among all labels.
        by_style: the held-out pairs of each style.
        clip_frames: frames of real clips; empty where no clips were given.
        num_concepts: how many labels it chooses among.
        num_training_stills: how many stills it learned from.
    """

    held_out_pairs: Ceiling
    unseen_concepts: Ceiling
    by_style: Mapping[str, Ceiling]
    clip_frames: Mapping[str, Ceiling]
    num_concepts: int
    num_training_stills: int

    def rows(self) -> tuple[Row, ...]:
        """The lines of its table."""
        among = f"of {self.num_concepts}"
        rows: list[Row] = []
        for name, ceiling in (
            ("real stills held out from the scorer", self.held_out_pairs),
            ("real stills of concepts it never saw", self.unseen_concepts),
            *(
                (f"frames of real clips, {split} concepts", c)
                for split, c in self.clip_frames.items()
            ),
        ):
            rows += [
                Row(f"{name}: concept first {among}", str(ceiling.top1)),
                Row(f"{name}: concept among the first 5 {among}", str(ceiling.top5)),
                Row(f"{name}: style", str(ceiling.style)),
            ]
        rows += [
            Row(
                f"held-out stills, {style} style: concept among the first 5; style",
                f"{100 * c.top5.share:.1f} %; {100 * c.style.share:.1f} % (of {c.top5.total})",
            )
            for style, c in self.by_style.items()
        ]
        return tuple(rows)


def is_held_out(still: Still) -> bool:
    """Whether a training concept's still belongs to the tenth kept back, by a stable hash."""
    digest = hashlib.sha256(f"held-out-pair/{still.hexcode}/{still.style}".encode()).digest()
    return still.split == "train" and digest[0] % 10 == 0


def train_scorer(
    stills: Path, *, cache: Path, options: ScorerOptions | None = None
) -> tuple[Scorer, ScorerReport]:
    """Train on all ``stills``; features are kept in ``cache``, so a kill costs little.

    Raises:
        InputError: a package that the scorer is made of is not installed, or it is to see nothing.
        FileError: there are no stills.
    """
    options = options or ScorerOptions()
    if min(options.num_views, options.num_style_views) < 1:
        raise InputError("A scorer learns from at least 1 view of each still.")
    network = channels_last(published_lite0(size=options.size))
    concepts = stored_features(
        stills, description=concept_description(network, num_views=options.num_views), cache=cache
    )
    styles = stored_features(
        stills,
        description=style_description(network, num_views=options.num_style_views),
        cache=cache,
    )
    return fit_scorer(
        concepts, styles, network=network, embed=SentenceEncoder.installed(), options=options
    )


def concept_description(network: Lite0, *, num_views: int) -> Description:
    """What the concept head learns from: moved, tinted and blurred views, seen by the network."""

    def view(picture: Tensor, still: Still, number: int) -> Tensor:
        flip = may_flip(still.label, group=still.group)
        return view_of(picture, key=still.key, view=number, flip=flip)

    return Description(f"lite0-{network.size}px", num_views, view, network)


def style_description(network: Lite0, *, num_views: int) -> Description:
    """What the style head learns from: rough and soft views, by palette and shallow features."""

    def view(picture: Tensor, still: Still, number: int) -> Tensor:
        return style_view(picture, key=still.key, view=number)

    def features(pictures: Tensor) -> Tensor:
        return style_features(pictures, shallow=network.shallow(pictures))

    return Description(f"style-soft-{network.size}px", num_views, view, features)


def fit_scorer(
    concepts: StoredFeatures,
    styles: StoredFeatures,
    *,
    network: Lite0,
    embed: Callable[[Sequence[str]], Float[Tensor, "n 384"]],
    options: ScorerOptions,
) -> tuple[Scorer, ScorerReport]:
    """Fit both heads to features of the same stills, and measure them on what they never saw.

    Raises:
        FileError: the two hold features of different stills.
    """
    if concepts.stills != styles.stills:
        raise FileError("The stored features are of different stills; delete their folder.")
    learned = concepts.where(lambda still: still.split == "train" and not is_held_out(still))
    facts = _facts(concepts, styles, learned, options)
    torch.manual_seed(options.seed)
    scorer = Scorer(facts)
    scorer.network = network
    scorer.label_embeddings.copy_(embed(facts.labels))
    _fit_whitening(scorer, torch.cat([view[learned] for view in concepts.views]))
    _fit_concepts(scorer, concepts, learned, options)
    _fit_styles(scorer, styles, learned, options)
    scorer.requires_grad_(requires_grad=False).eval()
    scorer.load_state_dict(scorer.stored())  # So that what is measured is what a file will hold.
    return scorer, _report(scorer, concepts, styles, learned)


def _facts(
    concepts: StoredFeatures,
    styles: StoredFeatures,
    learned: Bool[Tensor, " n"],
    options: ScorerOptions,
) -> ScorerFacts:
    labels = {still.hexcode: still.label for still in concepts.stills}
    kept = zip(concepts.stills, learned.tolist(), strict=True)
    trained = {still.hexcode for still, known in kept if known}
    hexcodes = tuple(sorted(labels))
    return ScorerFacts(
        hexcodes=hexcodes,
        labels=tuple(labels[code] for code in hexcodes),
        styles=tuple(sorted({still.style for still in concepts.stills})),
        trained=tuple(code in trained for code in hexcodes),
        num_features=concepts.views[0].shape[1],
        num_style_features=styles.views[0].shape[1],
        num_components=min(options.num_components, *concepts.views[0].shape),
        hidden=options.hidden,
        style_hidden=options.style_hidden,
        size=options.size,
    )


def _fit_whitening(scorer: Scorer, features: Float[Tensor, "n features"]) -> None:
    """Standardise, then rotate to the strongest directions and scale each to unit variance."""
    deviation, mean = torch.std_mean(features, dim=0)
    scorer.mean.copy_(mean)
    scorer.deviation.copy_(deviation.clamp(min=1e-4))
    standardised = scorer.standardised(features)
    covariance = standardised.T @ standardised / len(standardised)
    variances, directions = torch.linalg.eigh(covariance)
    strongest = variances.argsort(descending=True)[: scorer.facts.num_components]
    # A little is added to weak directions' variance: they are more noise than picture.
    spread = (variances[strongest].clamp(min=0) + 1e-3 * variances.max() / len(variances)).sqrt()
    scorer.whitening.copy_(directions[:, strongest] / spread)


def _fit_concepts(
    scorer: Scorer, stored: StoredFeatures, learned: Bool[Tensor, " n"], options: ScorerOptions
) -> None:
    """Choose the right label among the trained ones, and stay close to its embedding."""
    components = torch.cat(
        [scorer.standardised(view[learned]) @ scorer.whitening for view in stored.views]
    )
    codes = [still.hexcode for still in _kept(stored.stills, learned)]
    known = torch.tensor(scorer.facts.trained)
    labels = scorer.label_embeddings[known]
    # Only trained labels compete, so their places among themselves are the targets.
    place = known.long().cumsum(0) - 1
    targets = place[torch.tensor([scorer.index_of(code) for code in codes])]
    targets = targets.repeat(len(stored.views))
    nn.init.zeros_(scorer.concept.outer.weight)
    sharpness = nn.Parameter(torch.tensor(20.0).log())

    def loss(rows: Int[Tensor, " rows"], generator: torch.Generator) -> Tensor:
        predicted = scorer.concept(_thinned(components[rows], options.dropout, generator))
        similarity = predicted @ labels.T
        aligned = 1 - similarity.gather(1, targets[rows, None]).mean()
        chosen = F.cross_entropy(
            sharpness.exp() * similarity, targets[rows], label_smoothing=options.smoothing
        )
        return chosen + options.alignment * aligned

    parameters = [*scorer.concept.parameters(), sharpness]
    _descend(loss, parameters, len(targets), purpose="concepts", options=options)


def _fit_styles(
    scorer: Scorer, stored: StoredFeatures, learned: Bool[Tensor, " n"], options: ScorerOptions
) -> None:
    """Name the style of every view."""
    features = torch.cat([view[learned] for view in stored.views])
    names = [still.style for still in _kept(stored.stills, learned)]
    targets = torch.tensor([scorer.facts.styles.index(name) for name in names])
    targets = targets.repeat(len(stored.views))
    deviation, mean = torch.std_mean(features, dim=0)
    scorer.style.mean.copy_(mean)
    # Colours that hardly ever occur must not be blown up into evidence.
    scorer.style.deviation.copy_(deviation.clamp(min=0.02))

    def loss(rows: Int[Tensor, " rows"], generator: torch.Generator) -> Tensor:
        # Dropped features are replaced by their mean, which standardises to nothing.
        centred = _thinned(features[rows] - scorer.style.mean, options.dropout, generator)
        logits = scorer.style(centred + scorer.style.mean)
        return F.cross_entropy(logits, targets[rows], label_smoothing=options.smoothing)

    parameters = list(scorer.style.parameters())
    _descend(loss, parameters, len(targets), purpose="styles", options=options)


def _kept(stills: Sequence[Still], wanted: Bool[Tensor, " n"]) -> list[Still]:
    return [still for still, keep in zip(stills, wanted.tolist(), strict=True) if keep]


def _thinned(
    rows: Float[Tensor, "rows features"], dropout: float, generator: torch.Generator
) -> Float[Tensor, "rows features"]:
    """Dropout whose mask is a function of the run's seed."""
    kept = torch.rand(rows.shape, generator=generator) >= dropout
    return rows * kept / (1 - dropout)


def _descend(
    loss: Callable[[Int[Tensor, " rows"], torch.Generator], Tensor],
    parameters: list[nn.Parameter],
    num_rows: int,
    *,
    purpose: str,
    options: ScorerOptions,
) -> None:
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.decay)
    steps = options.epochs * -(-num_rows // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    for epoch in range(options.epochs):
        generator = seeded("scorer", options.seed, purpose, epoch)
        for rows in torch.randperm(num_rows, generator=generator).split(options.batch):
            optimiser.zero_grad()
            loss(rows, generator).backward()
            optimiser.step()
            schedule.step()


def ceiling_of(judgement: Judgement, stills: Sequence[Still], scorer: Scorer) -> Ceiling:
    """How often the scorer names the concept and the style of pictures that are known."""
    wanted = torch.tensor([scorer.index_of(still.hexcode) for still in stills])
    right = judgement.concepts == rearrange(wanted, "n -> n 1")
    named = zip(judgement.styles, stills, strict=True)
    return Ceiling(
        top1=Share.of(right[:, 0].tolist()),
        top5=Share.of(right.any(dim=1).tolist()),
        style=Share.of(style == still.style for style, still in named),
    )


def clip_ceilings(
    scorer: Scorer, clips: Iterable[Sample], *, watch: Callable[[int], None] = _ignore
) -> dict[str, Ceiling]:
    """The scorer on the first and the middle frame of real clips, by the clips' split.

    No clip was ever learned from; their concepts were, in split ``train``, as stills.
    """
    outcomes: dict[str, list[tuple[bool, bool, bool]]] = {}
    for index, clip in enumerate(clips):
        frames = clip.frames()
        judgement = scorer.judge(on_white(frames[[0, len(frames) // 2]]))
        concept = scorer.index_of(str(clip.meta["hexcode"]))
        outcomes.setdefault(str(clip.meta["split"]), []).extend(
            zip(
                judgement.shows(concept, among=1).tolist(),
                judgement.shows(concept).tolist(),
                (style == clip.meta["style"] for style in judgement.styles),
                strict=True,
            )
        )
        watch(index + 1)
    return {
        split: Ceiling(*(Share.of(column) for column in zip(*marks, strict=True)))
        for split, marks in sorted(outcomes.items())
    }


def _report(
    scorer: Scorer, concepts: StoredFeatures, styles: StoredFeatures, learned: Bool[Tensor, " n"]
) -> ScorerReport:
    def ceiling(wanted: Callable[[Still], bool]) -> Ceiling:
        chosen = concepts.where(wanted)
        judgement = scorer.judge_features(concepts.views[0][chosen], style=styles.views[0][chosen])
        return ceiling_of(judgement, _kept(concepts.stills, chosen), scorer)

    seen = zip(scorer.facts.hexcodes, scorer.facts.trained, strict=True)
    known = {code for code, trained in seen if trained}
    return ScorerReport(
        held_out_pairs=ceiling(lambda still: is_held_out(still) and still.hexcode in known),
        unseen_concepts=ceiling(lambda still: still.split != "train"),
        by_style={
            style: ceiling(lambda still, style=style: is_held_out(still) and still.style == style)
            for style in scorer.facts.styles
        },
        clip_frames={},
        num_concepts=len(scorer.facts.labels),
        num_training_stills=int(learned.sum()),
    )
