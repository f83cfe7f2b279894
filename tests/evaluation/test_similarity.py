import pytest
import torch
import torch.nn.functional as F

from animatediff.evaluation.similarity import domain_scores, smooth_scores, text_score


def test_text_is_the_mean_cosine_of_frames_to_the_prompt():
    frames = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert text_score(frames, torch.tensor([3.0, 0.0])) == pytest.approx(50)


def test_a_picture_held_still_is_perfectly_smooth():
    frames = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).repeat(4, 1)
    assert smooth_scores(frames) == pytest.approx((100, 100))
    assert smooth_scores(frames[:1]) == (100.0, 100.0)


def test_smooth_tells_consecutive_frames_from_all_pairs():
    turning = torch.tensor([0.0, 0.5, 1.0])
    frames = torch.stack([turning.cos(), turning.sin()], dim=1)
    consecutive, everywhere = smooth_scores(frames)
    assert consecutive == pytest.approx(100 * float(torch.tensor(0.5).cos()))
    expected = (2 * torch.tensor(0.5).cos() + torch.tensor(1.0).cos()) / 3
    assert everywhere == pytest.approx(100 * float(expected))


def test_domain_compares_every_frame_with_every_reference():
    frames = F.normalize(torch.eye(3)[:2])
    references = torch.eye(3)[[0, 2]]
    mean, best = domain_scores(frames, references)
    assert mean == pytest.approx(25)
    assert best == pytest.approx(50)
