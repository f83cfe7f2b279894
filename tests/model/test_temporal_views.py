"""Windows inside temporal attention: equal to a few lines, and to all frames where one view has all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from animatediff.model import temporal_views
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_module import TemporalAttention, TemporalTransformerBlock
from animatediff.model.motion_strength import Factors, MotionStrength
from animatediff.model.temporal_views import TemporalViews, View

FRAMES = 5
ALL = View(tuple(range(FRAMES)), (1.0,) * FRAMES)
OVERLAPPING = (View((0, 1, 2), (1.0, 2.0, 1.0)), View((2, 3, 4), (0.5, 1.0, 3.0)))

AROUND_THE_END = (
    View((3, 4, 0), (1.0, 2.0, 1.0)),
    View((0, 2), (1.0, 1.0)),
    View((1, 3), (2.0, 1.0)),
)


@pytest.fixture
def animated(new_motion: Callable[..., AnimatedUNet]) -> AnimatedUNet:
    return new_motion()


def run(animated: AnimatedUNet) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, FRAMES, 4, 4, generator=generator)
    text = torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        return animated(latents, 500, text)


def test_one_view_of_all_frames_is_plain_attention(animated: AnimatedUNet) -> None:
    plain = run(animated)
    views = TemporalViews(animated)
    assert torch.equal(run(animated), plain)
    views.views = (ALL,)
    assert torch.allclose(run(animated), plain, atol=1e-5)
    views.views = OVERLAPPING
    assert not torch.allclose(run(animated), plain, atol=1e-4)
    views.remove()
    assert torch.equal(run(animated), plain)
    assert (animated.clip.num_frames, animated.clip.view) == (FRAMES, None)


def test_each_attention_is_averaged_over_views_whose_positions_begin_anew(
    animated: AnimatedUNet,
) -> None:
    blocks = [m for m in animated.motion.modules() if isinstance(m, TemporalTransformerBlock)]
    block = blocks[0]
    channels = block.ff_norm.weight.shape[0]
    tokens = torch.randn(FRAMES, 6, channels, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mixed = tokens
        for attention, norm in zip(block.attention_blocks, block.norms, strict=True):
            total, weight = torch.zeros_like(tokens), torch.zeros(FRAMES, 1, 1)
            for view in OVERLAPPING:
                animated.clip.num_frames = 3
                part = attention(norm(mixed[list(view.frames)]))
                for place, frame in enumerate(view.frames):
                    total[frame] += view.weights[place] * part[place]
                    weight[frame] += view.weights[place]
            mixed = mixed + total / weight
        expected = mixed + block.ff(block.ff_norm(mixed))
        views = TemporalViews(animated)
        views.views = OVERLAPPING
        animated.clip.num_frames = FRAMES
        assert torch.allclose(block(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("views", [OVERLAPPING, AROUND_THE_END])
def test_shared_projections_equal_one_view_after_another(
    animated: AnimatedUNet,
    views: tuple[View, ...],
    fused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(temporal_views, "is_fused", lambda _device: fused)
    within = TemporalViews(animated)
    within.views = views
    shared = run(animated)
    # A hook has to see the frames of one view.
    seen: list[int] = []
    for layer in animated.motion.modules():
        if isinstance(layer, TemporalAttention):
            layer.to_q.register_forward_hook(
                lambda _layer, inputs, _out: seen.append(len(inputs[0]))
            )
    assert torch.allclose(run(animated), shared, atol=1e-5)
    assert set(seen) == {2 * len(view.frames) for view in views}


def test_views_that_share_no_frame_are_clips_of_their_own(animated: AnimatedUNet) -> None:
    views = TemporalViews(animated)
    views.views = (View((0, 1), (1.0, 1.0)), View((2, 3, 4), (1.0, 1.0, 1.0)))
    both = run(animated)
    views.remove()
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, FRAMES, 4, 4, generator=generator)
    text = torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        first, second = (
            animated(latents[:, :, at], 500, text) for at in (slice(0, 2), slice(2, 5))
        )
    assert torch.allclose(both, torch.cat([first, second], dim=2), atol=1e-5)


def test_factors_of_keys_follow_the_frames_of_a_view(animated: AnimatedUNet) -> None:
    views, strength = TemporalViews(animated), MotionStrength(animated)
    views.views = (View((0, 1, 2), (1.0, 2.0, 1.0)), View((3, 4), (1.0, 1.0)))
    ones = torch.ones(FRAMES, 1, 1)
    plain = run(animated)
    strength.factors = dict.fromkeys(animated.motion, Factors(ones, ones))
    assert torch.equal(run(animated), plain)
    later = ones.clone()
    later[3:] = 2.0
    strength.factors = {list(animated.motion)[-1]: Factors(later, ones)}
    made = run(animated)
    # In the last module, the first view holds none of these frames.
    assert torch.equal(made[:, :, :3], plain[:, :, :3])
    assert (made[:, :, 3:] - plain[:, :, 3:]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-5
