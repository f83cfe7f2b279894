"""The temporal Transformer against its plain-torch reference."""

import pytest
import torch
from einops import rearrange

from animatediff.errors import InputError
from animatediff.model import Clip, MotionModule

C, HEADS, GROUPS = 32, 4, 8


def module_for(frames, **options):
    return MotionModule(C, heads=HEADS, norm_groups=GROUPS, clip=Clip(frames), **options)


def video(frames, *, clips=2, channels=C, height=3, width=2):
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(clips, channels, frames, height, width, generator=generator)


def run(module, x):
    folded = rearrange(x, "b c f h w -> (b f) c h w")
    return rearrange(module(folded, folded), "(b f) c h w -> b c f h w", f=x.shape[2])


@pytest.mark.parametrize("frames", [1, 16, 40])
@pytest.mark.parametrize("scope", ["frame", "video"])
def test_the_motion_module_is_the_reference_for_any_number_of_frames(
    frames, scope, reference, randomised
):
    module = randomised(module_for(frames, norm_scope=scope))
    x = video(frames)
    expected = reference.motion(x, module.state_dict(), heads=HEADS, groups=GROUPS, scope=scope)
    actual = run(module, x)
    assert expected.std() > 0.1
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_channels_last_memory_gives_the_same_values_and_stays(randomised):
    module = randomised(module_for(5))
    folded = rearrange(video(5), "b c f h w -> (b f) c h w").contiguous()
    last = folded.to(memory_format=torch.channels_last)
    residual = module(last, last)
    assert residual.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(residual, module(folded, folded), atol=1e-5, rtol=1e-5)


def test_a_fresh_motion_module_adds_exactly_nothing():
    assert not run(module_for(4), video(4)).any()


def test_clips_do_not_see_each_other_but_frames_do(randomised):
    module = randomised(module_for(4))
    x = video(4)
    changed = x.clone()
    changed[0, :, 2].neg_()
    difference = (run(module, changed) - run(module, x)).abs().amax(dim=(1, 3, 4))
    assert (difference[0] > 1e-3).all()
    assert not difference[1].any()


def test_positions_are_not_shared_across_space(randomised):
    module = randomised(module_for(4))
    module.norm = torch.nn.Identity()  # the only part that looks across space
    module.norm_scope = "frame"
    x = video(4)
    changed = x.clone()
    changed[..., 0, 0] += 1
    motion_module_difference = _without_norm(module, changed) - _without_norm(module, x)
    assert motion_module_difference[..., 0, 0].any()
    assert not motion_module_difference[..., 1:, :].any()


def _without_norm(module, x):
    tokens = rearrange(x, "b c f h w -> (b f) (h w) c")
    tokens = module.transformer_blocks[0](module.proj_in(tokens))
    return rearrange(tokens, "(b f) (h w) c -> b c f h w", f=x.shape[2], h=x.shape[3])


def test_the_number_of_frames_may_change_between_calls(randomised, reference):
    clip = Clip()
    module = randomised(MotionModule(C, heads=HEADS, norm_groups=GROUPS, clip=clip))
    for frames in (16, 3, 40, 16):
        clip.num_frames = frames
        x = video(frames, clips=1)
        expected = reference.motion(
            x, module.state_dict(), heads=HEADS, groups=GROUPS, scope="frame"
        )
        torch.testing.assert_close(run(module, x), expected, atol=1e-5, rtol=1e-5)


def test_positions_are_in_no_file():
    module = module_for(16)
    run(module, video(16))
    assert not any("pos" in key for key in module.state_dict())
    assert len(module.state_dict()) == 26


def test_a_module_made_without_storage_works_once_its_weights_come(randomised):
    source = randomised(module_for(4))
    with torch.device("meta"):
        module = module_for(4)
    module.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(run(module, video(4)), run(source, video(4)))


@pytest.mark.parametrize("width", [32, 64])
def test_the_number_of_parameters_follows_from_the_width(width):
    module = MotionModule(width, norm_groups=8)
    assert sum(p.numel() for p in module.parameters()) == 22 * width**2 + 21 * width


def test_one_attention_block_is_the_control_net_s_module():
    module = module_for(4, attention_blocks=1)
    assert len(module.transformer_blocks[0].attention_blocks) == 1
    assert run(module, video(4)).shape == video(4).shape


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(InputError, match="5 attention heads cannot share 32 channels"):
        MotionModule(32, heads=5, norm_groups=8)


def test_half_precision_training_on_a_cpu_gives_the_gradients_of_full_precision(randomised):
    module = randomised(module_for(4), std=0.1)
    x = video(4)
    gradients = []
    for enabled in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = run(module, x).float().square().mean()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("frames_learn", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_norm_learns_whether_or_not_what_it_normalises_does(frames_learn, memory, randomised):
    module = randomised(module_for(4))
    folded = rearrange(video(4), "b c f h w -> (b f) c h w").contiguous(memory_format=memory)
    folded.requires_grad_(frames_learn)
    module(folded, folded).square().sum().backward()
    reference = randomised(module_for(4))
    plain = folded.detach().contiguous().requires_grad_()
    reference(plain, plain).square().sum().backward()
    for actual, expected in zip(module.norm.parameters(), reference.norm.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-3, atol=1e-3)
