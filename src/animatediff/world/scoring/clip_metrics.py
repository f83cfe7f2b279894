"""Text, domain and smooth: the three CLIP measures of Table 1, with the independent scorer as CLIP.

The paper (Sec. 5.1, arXiv 2307.04725) leaves open which frames are compared; both readings of
*smooth* are given. A picture that never moves has the best *smooth* there is, so these are never
read without the motion measures and without a static control.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.world.scoring.scorer import Judgement, Scorer

Frames = UInt8[np.ndarray, "frames height width 3"]


@dataclass(frozen=True)
class ClipScores:
    """The scores of one clip, all times 100 as in the paper.

    Attributes:
        text: mean cosine of the frames to the prompt.
        domain: mean cosine of the frames to the reference pictures of the image model.
        domain_best: the same to each frame's nearest reference.
        smooth: mean cosine of consecutive frames.
        smooth_all_pairs: mean cosine of every two frames.
    """

    text: float
    domain: float
    domain_best: float
    smooth: float
    smooth_all_pairs: float


def text_score(embeddings: Float[Tensor, "frames d"], prompt: Float[Tensor, " d"]) -> float:
    """100 times the mean cosine of frames, mapped to the words' space, to the prompt."""
    return 100 * float((F.normalize(embeddings, dim=1) @ F.normalize(prompt, dim=0)).mean())


def domain_scores(
    features: Float[Tensor, "frames features"], references: Float[Tensor, "k features"]
) -> tuple[float, float]:
    """100 times the mean, and the mean of the best, cosine of frames to reference pictures."""
    cosines = F.normalize(features, dim=1) @ F.normalize(references, dim=1).T
    return 100 * float(cosines.mean()), 100 * float(cosines.max(dim=1).values.mean())


def smooth_scores(features: Float[Tensor, "frames features"]) -> tuple[float, float]:
    """100 times the mean cosine of consecutive frames, and of all pairs; 100 for a single frame."""
    count = len(features)
    if count < 2:
        return 100.0, 100.0
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T
    pairs = torch.triu_indices(count, count, offset=1)
    everywhere = cosines[pairs[0], pairs[1]].mean()
    return 100 * float(cosines.diagonal(offset=1).mean()), 100 * float(everywhere)


def clip_scores(frames: Frames, *, prompt: str, references: Frames, scorer: Scorer) -> ClipScores:
    """All scores of a clip.

    Args:
        frames: the clip.
        prompt: what was asked for.
        references: pictures that the same image model draws of the same prompt with other seeds.
        scorer: the judge, in CLIP's place.
    """
    judged: Judgement = scorer.judge(frames)
    domain, domain_best = domain_scores(judged.features, scorer.judge(references).features)
    smooth, smooth_all_pairs = smooth_scores(judged.features)
    return ClipScores(
        text=text_score(judged.embeddings, scorer.embed_text([prompt])[0]),
        domain=domain,
        domain_best=domain_best,
        smooth=smooth,
        smooth_all_pairs=smooth_all_pairs,
    )
