"""The judging networks that a command line names: CLIP, DINO and RAFT, or the built-in scorer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from animatediff.apps.options.parsing import optional

if TYPE_CHECKING:
    import torch

    from animatediff.evaluation.clip_marks import Metrics


@dataclass(frozen=True)
class MetricOptions:
    """Networks of the metrics. Without --clip, the scorer of the built-in world judges."""

    clip: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER...")] = ()
    """CLIP in transformers' layout; of several, the first is the main one."""
    dino: Annotated[Path | None, optional("FOLDER")] = None
    """DINO or DINOv2 in transformers' layout, for the consistency of frames."""
    raft: Annotated[Path | None, optional("FILE")] = None
    """A RAFT checkpoint for the optical flow; without it, flow is DIS."""

    def load(self, *, work: Path, device: torch.device) -> Metrics:
        """Check the folders and return the networks; they are read at their first use.

        Args:
            work: the world folder, whose own scorer judges where one was trained.
            device: where the networks run.

        Raises:
            FileError: a folder is something else, or there is no scorer.
        """
        from animatediff.evaluation.clip_marks import Metrics
        from animatediff.evaluation.judges.clip import ClipJudge
        from animatediff.evaluation.judges.dino import Dino
        from animatediff.evaluation.judges.raft import Raft

        if self.clip:
            judges = [ClipJudge(folder, device=device) for folder in self.clip]
        else:
            from animatediff.world.scoring.judge import ScorerJudge
            from animatediff.world.scoring.scorer import scorer_folder

            judges = [ScorerJudge(scorer_folder(work))]
        raft = None if self.raft is None else Raft(self.raft, device=device)
        return Metrics(
            judges,
            dino=None if self.dino is None else Dino(self.dino, device=device),
            flow=raft,
            flow_name="DIS" if raft is None else raft.name,
        )
