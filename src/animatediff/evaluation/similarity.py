"""Text, domain and smooth: the three CLIP metrics of Table 1 as cosines of embeddings.

The paper (Sec. 5.1, arXiv 2307.04725) does not say which frames *smooth* compares, so both readings are
computed. A video that never moves has the best *smooth*, so these are always reported beside motion.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def text_score(embeddings: Float[Tensor, "frames d"], prompt: Float[Tensor, " d"]) -> float:
    """Return 100 times the mean cosine of the frames and the prompt."""
    return 100 * float((F.normalize(embeddings, dim=1) @ F.normalize(prompt, dim=0)).mean())


def domain_scores(
    features: Float[Tensor, "frames features"], references: Float[Tensor, "k features"]
) -> tuple[float, float]:
    """Return 100 times the mean, and the mean of the best, cosine of frames and references."""
    cosines = F.normalize(features, dim=1) @ F.normalize(references, dim=1).T
    return 100 * float(cosines.mean()), 100 * float(cosines.max(dim=1).values.mean())


def smooth_scores(features: Float[Tensor, "frames features"]) -> tuple[float, float]:
    """Return 100 times the mean cosine of consecutive frames, and of all pairs; 100 for one frame."""
    count = len(features)
    if count < 2:
        return 100.0, 100.0
    unit = F.normalize(features, dim=1)
    cosines = unit @ unit.T
    pairs = torch.triu_indices(count, count, offset=1)
    everywhere = cosines[pairs[0], pairs[1]].mean()
    return 100 * float(cosines.diagonal(offset=1).mean()), 100 * float(everywhere)


def consistency_scores(features: Float[Tensor, "frames features"]) -> tuple[float, float]:
    """Return two consistencies of DINO features, times 100; 100 for one frame.

    Returns:
        The mean cosine of every later frame and the first, as FreeInit reports it
        (arXiv 2312.07537); and VBench's subject consistency (arXiv 2311.17982), the mean of the
        cosines with the previous and with the first frame, each at least 0.
    """
    if len(features) < 2:
        return 100.0, 100.0
    unit = F.normalize(features, dim=1)
    first = unit[1:] @ unit[0]
    previous = (unit[1:] * unit[:-1]).sum(dim=1)
    subject = (first.clamp(min=0) + previous.clamp(min=0)) / 2
    return 100 * float(first.mean()), 100 * float(subject.mean())
