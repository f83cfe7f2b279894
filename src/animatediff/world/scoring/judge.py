"""The independent scorer in CLIP's place, for the metrics of Table 1 without downloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from animatediff.evaluation.judges.judge import Frames, Seen
from animatediff.weights.storage.files import sha256_of
from animatediff.world.scoring.scorer import WEIGHTS_FILE, Scorer


class ScorerJudge:
    """The scorer as a judge: features compare pictures, embeddings compare pictures with words.

    Args:
        folder: where ``animatediff evaluate scorer`` stored it.

    Raises:
        FileError: the folder has no scorer.
    """

    name = "built-in scorer"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scorer = Scorer.load(folder)

    @property
    def digest(self) -> str:
        """Hash of its weights."""
        return sha256_of(self.folder / WEIGHTS_FILE)

    def see(self, frames: Frames) -> Seen:
        """Return the embeddings of frames."""
        judged = self.scorer.judge(frames)
        return Seen(judged.features, judged.embeddings)

    def read(self, texts: Sequence[str]) -> Float[Tensor, "n e"]:
        """Return MiniLM's embeddings of texts."""
        return self.scorer.embed_text(texts)
