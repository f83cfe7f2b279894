"""An additive, removable branch: nothing more happens to its host."""

import copy

import pytest
import torch
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from torch import nn

from animatediff.errors import InputError
from animatediff.model import Graft, Grafts


class Times(nn.Module):
    """``input * output * factor``: shows that a branch sees both."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, inputs, output):
        self.calls += 1
        return inputs * output * self.factor


class Returning(nn.Module):
    """A host that packs its output."""

    def __init__(self, pack) -> None:
        super().__init__()
        self.pack = pack

    def forward(self, x):
        return self.pack(2 * x)


X = torch.arange(1.0, 4.0)


def test_a_graft_adds_its_scaled_branch_to_what_the_host_returns():
    host = nn.Identity()
    Graft(Times(3.0), scale=0.5).attach(host)
    assert torch.equal(host(X), X + 1.5 * X * X)


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (lambda x: (x,), lambda y: y[0]),
        (lambda x: (x, "rest"), lambda y: y[0]),
        (lambda x: Transformer2DModelOutput(sample=x), lambda y: y.sample),
    ],
    ids=["tuple", "longer tuple", "output class"],
)
def test_a_graft_copes_with_packed_outputs(pack, unpack):
    host = Returning(pack)
    plain = host(X)
    Graft(Times(1.0)).attach(host)
    grafted = host(X)
    assert type(grafted) is type(plain)
    assert len(grafted) == len(plain)
    assert torch.equal(unpack(grafted), 2 * X + 2 * X * X)


def test_a_scale_of_zero_does_not_compute_the_branch():
    host, branch = nn.Identity(), Times(3.0)
    Graft(branch, scale=0.0).attach(host)
    assert host(X) is X
    assert branch.calls == 0


def test_a_removed_graft_leaves_no_hook_and_may_be_attached_again():
    host, graft = nn.Identity(), Graft(Times(3.0))
    graft.attach(host)
    assert graft.attached
    assert graft.host is host
    graft.remove()
    graft.remove()
    assert not graft.attached
    assert not host._forward_hooks
    assert host(X) is X
    assert graft.attach(host).attached


def test_a_graft_has_one_host():
    graft = Graft(Times(1.0)).attach(nn.Identity())
    with pytest.raises(InputError, match="already has a host"):
        graft.attach(nn.Identity())


def test_a_graft_without_a_host_says_so():
    with pytest.raises(InputError, match="no host"):
        _ = Graft(Times(1.0)).host


def test_a_graft_does_not_own_its_host():
    host, graft = nn.Linear(3, 3), Graft(Times(1.0))
    keys = list(host.state_dict())
    graft.attach(host)
    assert list(host.state_dict()) == keys
    assert list(graft.state_dict()) == ["branch.factor"]


def test_the_precision_of_the_host_is_kept():
    host = nn.Identity()
    Graft(Times(1.0)).attach(host)
    assert host(X.bfloat16()).dtype == torch.bfloat16


def test_a_checkpointed_graft_gives_the_same_values_and_gradients():
    gradients = []
    for checkpointed in (False, True):
        host, branch = nn.Identity(), Times(3.0)
        graft = Graft(branch).attach(host)
        graft.checkpointed = checkpointed
        host(X).square().sum().backward()
        gradients.append(branch.factor.grad)
        assert branch.calls == 1 + checkpointed
    assert torch.equal(*gradients)


def test_a_deep_copy_carries_its_own_grafts():
    pair = nn.ModuleDict({"host": nn.Identity(), "graft": Graft(Times(3.0))})
    pair["graft"].attach(pair["host"])
    twin = copy.deepcopy(pair)
    twin["graft"].branch.factor.data.zero_()
    assert torch.equal(twin["host"](X), X)
    assert torch.equal(pair["host"](X), X + 3 * X * X)
    twin["graft"].remove()
    assert not twin["host"]._forward_hooks
    assert pair["host"]._forward_hooks


def test_grafts_have_one_scale_and_go_together():
    hosts = {name: nn.Identity() for name in "ab"}
    grafts = Grafts({name: Graft(Times(1.0)).attach(host) for name, host in hosts.items()})
    grafts.scale = 0.25
    assert [graft.scale for graft in grafts.values()] == [0.25, 0.25]
    assert repr(grafts) == "2 grafts, attached, scale 0.25"
    grafts.remove()
    assert repr(grafts) == "2 grafts, removed, scale 0.25"
    assert all(host(X) is X for host in hosts.values())


def test_no_grafts_at_all_is_an_error():
    with pytest.raises(InputError, match="no layer to graft on"):
        Grafts({})
