"""The experiments of the paper: where their results are, and the command that makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, reason_of


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Attributes:
        name: of its page.
        title: of its page.
        question: what it asks, in a sentence.
        results: files in the folder of results, the first that exists counts.
        command: what makes the first of them.
    """

    name: str
    title: str
    question: str
    results: tuple[str, ...]
    command: str


EXPERIMENTS = (
    Experiment(
        "transfer",
        "Personalised models (Sec. 5.1)",
        "Does the motion module animate models personalised from the same base?",
        ("transfer.json",),
        "animatediff evaluate transfer",
    ),
    Experiment(
        "table1",
        "Comparison with baselines (Table 1)",
        "How does AnimateDiff compare with Text2Video-Zero and Tune-A-Video?",
        ("table1.json",),
        "animatediff evaluate table1",
    ),
    Experiment(
        "study",
        "User study (Table 1)",
        "How do people rank the methods?",
        ("study.json",),
        "animatediff study make, serve, collect and report",
    ),
    Experiment(
        "adapter",
        "Scale of the domain adapter (Fig. 6)",
        "Do the watermark and the quality change with the adapter's scale?",
        ("ablations/adapter.json", "adapter.json"),
        "animatediff ablation adapter",
    ),
    Experiment(
        "module",
        "Transformer against convolution (Sec. 5.3)",
        "Does a temporal convolution of equal size model motion as well as the Transformer?",
        ("ablations/module.json", "rival/motion.json"),
        "animatediff ablation module",
    ),
    Experiment(
        "motion-lora-rank",
        "Rank of MotionLoRAs (Fig. 7)",
        "Which rank does a MotionLoRA need?",
        ("ablations/motion-lora-rank.json", "motion-lora/rank2.json"),
        "animatediff ablation motion-lora-rank",
    ),
    Experiment(
        "motion-lora-clips",
        "Number of clips of MotionLoRAs (Fig. 7)",
        "How many clips does a MotionLoRA need?",
        ("ablations/motion-lora-clips.json", "motion-lora/rank2-and-5clips.json"),
        "animatediff ablation motion-lora-clips",
    ),
    Experiment(
        "composition",
        "Composition of two MotionLoRAs (Sec. 4.3)",
        "Do two MotionLoRAs at once show both moves?",
        ("ablations/composition.json", "motion-lora/together.json"),
        "animatediff ablation composition",
    ),
    Experiment(
        "control",
        "Control with sequences (Sec. 5.4)",
        "Do animations follow a sequence of conditions?",
        ("ablations/control.json", "control.json"),
        "animatediff ablation control",
    ),
)


def find_result(experiment: Experiment, results: Path) -> Path | None:
    """Return the file with an experiment's results, or ``None`` if there is none yet."""
    paths = (results / name for name in experiment.results)
    return next((path for path in paths if path.is_file()), None)


def read_result(path: Path) -> Mapping[str, Any]:
    """Read what ``write_report`` wrote.

    Raises:
        FileError: the file is broken or was not written by an evaluation.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert all(key in content for key in ("command", "rows", "report"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (ValueError, AssertionError):
        raise FileError(f"{path} was not written by `animatediff evaluate`.") from None
    return content
