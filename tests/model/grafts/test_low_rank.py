"""B·A·x, its merge into a weight, and sets of such branches."""

import pytest
import torch
from torch import nn

from animatediff.errors import InputError
from animatediff.model import Graft, LowRank, LowRankSet, attention_projections, exchanged, merged
from animatediff.model.grafts.low_rank import changes_of

HOSTS = {
    "linear": (lambda: nn.Linear(6, 10), (4, 6)),
    "pointwise": (lambda: nn.Conv2d(6, 10, 1), (2, 6, 5, 5)),
    "convolution": (lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1), (2, 6, 5, 5)),
    "dilated": (lambda: nn.Conv2d(6, 10, (3, 1), dilation=2, bias=False), (2, 6, 7, 7)),
}


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_the_delta_added_to_the_weight_equals_the_branch(kind, alpha, randomised):
    make, shape = HOSTS[kind]
    host = make()
    branch = randomised(LowRank(host, rank=3, alpha=alpha), std=0.5)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    graft = Graft(branch, scale=0.7).attach(host)
    grafted = host(x)
    graft.remove()
    delta = branch.delta().of(host.weight, scale=0.7)
    assert delta.shape == host.weight.shape
    host.weight.data += delta
    torch.testing.assert_close(host(x), grafted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", HOSTS)
def test_a_fresh_branch_is_nothing(kind):
    make, shape = HOSTS[kind]
    host, x = make(), torch.randn(shape)
    expected = host(x)
    Graft(LowRank(host, rank=2)).attach(host)
    assert torch.equal(host(x), expected)


def test_alpha_over_rank_is_the_factor():
    host = nn.Linear(3, 3)
    assert LowRank(host, rank=4).factor == 1
    assert LowRank(host, rank=4, alpha=2.0).factor == 0.5


def test_the_branch_takes_the_precision_of_its_host():
    branch = LowRank(nn.Linear(3, 3).half(), rank=2)
    assert {p.dtype for p in branch.parameters()} == {torch.float16}


@pytest.mark.parametrize(
    "host", [nn.LayerNorm(4), nn.Conv2d(4, 4, 3, groups=2), nn.Conv1d(4, 4, 1)]
)
def test_other_hosts_are_an_error(host):
    with pytest.raises(InputError, match="needs a linear layer or an ungrouped 2-D convolution"):
        LowRank(host, rank=2)


def test_a_rank_below_one_is_an_error():
    with pytest.raises(InputError, match="rank 0"):
        LowRank(nn.Linear(3, 3), rank=0)


def test_a_set_names_its_weights_after_its_hosts(small_unet):
    unet = small_unet()
    hosts = attention_projections(unet)
    low_rank = LowRankSet(hosts, rank=2, scale=0.8)
    expected = [f"{path}.{half}.weight" for path in hosts for half in ("down", "up")]
    assert sorted(low_rank.state_dict()) == sorted(expected)
    assert low_rank.scale == 0.8
    low_rank.scale = 0.1
    assert {graft.scale for graft in low_rank.grafts.values()} == {0.1}


def test_a_set_that_cannot_be_grafted_leaves_no_trace():
    hosts = {"good": nn.Linear(3, 3), "bad": nn.LayerNorm(3)}
    with pytest.raises(InputError):
        LowRankSet(hosts, rank=2)
    assert not hosts["good"]._forward_hooks


def test_a_set_on_no_host_is_an_error():
    with pytest.raises(InputError, match="no layer to graft on"):
        LowRankSet({}, rank=2)


def test_hosts_are_the_projections_of_both_attentions(small_unet):
    hosts = attention_projections(small_unet())
    assert len(hosts) == 7 * 2 * 4
    assert "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0" in hosts
    assert all(isinstance(host, nn.Linear) for host in hosts.values())


def test_merging_is_the_branches_without_their_cost_and_leaves_no_trace(
    small_unet, inputs, randomised
):
    unet = small_unet()
    image = (inputs["latents"][:, :, 0], inputs["timestep"], inputs["encoder_hidden_states"])
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    low_rank = randomised(LowRankSet(attention_projections(unet), rank=2, alpha=1.0, scale=0.6))
    expected = unet(*image).sample
    changed = merged([(changes_of(low_rank.grafts), 0.6)])
    with low_rank.grafts.at(0.0), exchanged(changed):
        assert low_rank.scale == 0
        torch.testing.assert_close(unet(*image).sample, expected, atol=1e-4, rtol=1e-4)
    assert low_rank.scale == 0.6
    assert torch.equal(unet(*image).sample, expected)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_merged_sets_add_up_and_come_off_even_after_an_error(randomised):
    host = nn.Linear(4, 4)
    own = host.weight.clone()
    sets = [randomised(LowRankSet({"x": host}, rank=2), seed=seed) for seed in (1, 2)]
    expected = host(torch.eye(4))

    def fail_while_merged():
        changes = [(changes_of(low_rank.grafts), 1.0) for low_rank in sets]
        with sets[0].grafts.at(0.0), sets[1].grafts.at(0.0), exchanged(merged(changes)):
            torch.testing.assert_close(host(torch.eye(4)), expected)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_merged()
    assert torch.equal(host.weight, own)
    assert [low_rank.scale for low_rank in sets] == [1, 1]


def test_weights_with_branches_are_exchanged_while_it_lasts(randomised):
    host, bare = nn.Linear(4, 4), nn.Linear(4, 4)
    own = host.weight.clone()
    first, second = (
        randomised(LowRankSet({"x": layer}, rank=2, scale=0.5), seed=seed)
        for seed, layer in ((1, host), (2, bare))
    )
    weights = merged([(changes_of(first.grafts), 0.25), (changes_of(second.grafts), 0.0)])
    assert torch.equal(host.weight, own)
    assert first.scale == 0.5
    assert torch.equal(weights[bare.weight], bare.weight)
    first.grafts.scale = 0.25
    expected = host(torch.eye(4))
    with first.grafts.at(0.0), exchanged(weights):
        kept = host.weight.clone()
        torch.testing.assert_close(host(torch.eye(4)), expected)
        with exchanged({host.weight: own}):
            assert torch.equal(host.weight, own)
        assert torch.equal(host.weight, kept)
    assert first.scale == 0.25
    assert torch.equal(host.weight, own)
