"""All metrics of a clip, with a judge that sees mean colours, and the frozen control."""

from fractions import Fraction

import numpy as np
import pytest
import torch

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from animatediff.evaluation.clip_marks import Metrics, held_still
from animatediff.evaluation.judges.judge import Seen
from animatediff.evaluation.motion_metrics import flicker, is_dynamic
from animatediff.evaluation.similarity import consistency_scores
from animatediff.evaluation.vbench_names import export_for_vbench, vbench_name
from animatediff.video import Video


class Colours:
    name, digest = "colours", "0"

    def see(self, frames):
        means = torch.from_numpy(frames.astype(np.float32)).mean(dim=(1, 2)) - 128
        return Seen(means, means)

    def read(self, texts):
        return torch.tensor([[1.0, 0.0, 0.0] if "red" in text else [0.0, 0, 1] for text in texts])

    def features(self, frames):
        return self.see(frames).pictures


def sliding(step: int, *, count: int = 8, side: int = 128) -> np.ndarray:
    frames = np.full((count, side, side, 3), 255, np.uint8)
    texture = np.random.default_rng(0).integers(0, 200, (side // 4, side // 4, 3)).astype(np.uint8)
    for frame in range(count):
        left = 8 + step * frame
        frames[frame, 32 : 32 + side // 4, left : left + side // 4] = texture
    return frames


def test_a_frozen_video_wins_likeness_and_loses_motion():
    metrics = Metrics([Colours()], dino=Colours())
    clip = sliding(4)
    clip[:, :20] = np.linspace(0, 90, 8).astype(np.uint8)[:, None, None, None]
    own = metrics.measure(clip, prompt="red", fps=8)
    frozen = metrics.measure(held_still(clip), prompt="red", fps=8)
    assert frozen.likeness["colours"].smooth == pytest.approx(100)
    assert frozen.likeness["colours"].smooth >= own.likeness["colours"].smooth
    assert (frozen.dino, frozen.flicker, frozen.frozen) == (pytest.approx(100), 1.0, True)
    assert frozen.flow == pytest.approx(0, abs=1e-3)
    assert own.flow > 1
    assert own.dynamic
    assert not frozen.dynamic
    assert not own.frozen


def test_domain_needs_references_and_text_the_prompt():
    metrics, clip = Metrics([Colours()]), sliding(4)
    clip[..., 0] = 255
    marks = metrics.measure(clip, prompt="red", fps=8, references=metrics.references(clip[:2]))
    blue = metrics.measure(clip, prompt="blue", fps=8)
    assert marks.likeness["colours"].domain == pytest.approx(100, abs=0.1)
    assert blue.likeness["colours"].domain is None
    assert blue.dino is None
    assert marks.likeness["colours"].text != blue.likeness["colours"].text


def test_flicker_is_vbenchs():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[1] = 51
    assert flicker(frames) == pytest.approx((255 - 51) / 255)


def test_dynamic_counts_fast_pairs_at_eight_frames_a_second():
    assert is_dynamic(sliding(4))
    assert not is_dynamic(sliding(1))
    # At 16 frames a second, two steps of 2 px make one of 4 px.
    assert is_dynamic(sliding(2), fps=16)
    assert not is_dynamic(sliding(4)[:1])


def test_the_flow_is_chosen():
    fast = Metrics([Colours()], flow=lambda a, b: np.full((*a.shape[:2], 2), 30, np.float32))
    assert fast.measure(sliding(1), prompt="red", fps=8).dynamic


def test_subject_consistency_clamps_each_cosine():
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    first, subject = consistency_scores(features)
    assert first == pytest.approx(-50)
    assert subject == pytest.approx(0)


def test_vbench_reads_the_prompt_from_the_name(tmp_path):
    assert vbench_name("a fox", index=0) == "a fox-0.mp4"
    assert vbench_name("and/or", index=3) == "and or-3.mp4"
    assert len(vbench_name("ü" * 300, index=0).encode()) <= 240
    video = Video(sliding(1, count=2), Fraction(8))
    written = export_for_vbench([("a fox", video), ("a hare", video), ("a fox", video)], tmp_path)
    assert [path.name for path in written] == ["a fox-0.mp4", "a hare-0.mp4", "a fox-1.mp4"]
    assert all(path.is_file() for path in written)
