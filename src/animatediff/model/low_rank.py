"""The branch B·A·x, a low-rank update of a linear layer, and sets of such branches.

LoRA (Hu et al., arXiv 2106.09685) is how AnimateDiff learns everything but the motion module: the
domain adapter (Sec. 4.1, Eq. 4 of Guo et al., arXiv 2307.04725), MotionLoRA (Sec. 4.3) and, outside
the paper, the personalised styles themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.graft import Graft, Grafts

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""The four matrices of an attention, as diffusers and the published motion modules name them."""

Host = nn.Linear | nn.Conv2d
"""What can carry a low-rank branch."""


class LowRank(nn.Module):
    """The branch B·A·x beside a linear or convolutional host; it begins at zero.

    A (``down``) is random, B (``up``) is zero. A convolutional A looks at what its host looks at; B
    is pointwise. The product is multiplied by ``alpha / rank``.

    Args:
        host: the layer whose shape, device and dtype the branch takes; it is not kept.
        rank: inner width.
        alpha: numerator of the factor; ``None`` means the rank itself, a factor of 1, which is what
            the paper's files assume.

    Raises:
        InputError: the host is neither linear nor an ungrouped convolution, or the rank is below 1.
    """

    def __init__(self, host: nn.Module, *, rank: int, alpha: float | None = None) -> None:
        super().__init__()
        if rank < 1:
            raise InputError(
                f"A low-rank branch of rank {rank} is empty; choose a rank of 1 or more."
            )
        self.rank = rank
        self.alpha = float(rank if alpha is None else alpha)
        down, up = _factors(host, rank=rank)
        weight = cast(Host, host).weight
        self.down = down.to(weight)
        self.up = up.to(weight)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    @property
    def factor(self) -> float:
        """What the product B·A is multiplied by."""
        return self.alpha / self.rank

    def forward(self, inputs: Tensor, output: Tensor) -> Tensor:
        """B·A·x, shaped like the host's ``output``, whose value is not used."""
        residual = self.up(self.down(inputs))
        return residual if self.factor == 1 else self.factor * residual

    def delta(self) -> Tensor:
        """The update of the host's weight that equals the branch, shaped like that weight."""
        up, down = self.up.weight.flatten(1), self.down.weight
        return self.factor * (up @ down.flatten(1)).unflatten(1, down.shape[1:])

    def extra_repr(self) -> str:
        """Rank and alpha, for ``repr``."""
        return f"rank={self.rank}, alpha={self.alpha:g}"


def _factors(host: nn.Module, *, rank: int) -> tuple[Host, Host]:
    if isinstance(host, nn.Linear):
        down = nn.Linear(host.in_features, rank, bias=False)
        up = nn.Linear(rank, host.out_features, bias=False)
    elif isinstance(host, nn.Conv2d) and host.groups == 1:
        down = nn.Conv2d(
            host.in_channels,
            rank,
            kernel_size=cast(tuple[int, int], host.kernel_size),
            stride=cast(tuple[int, int], host.stride),
            padding=cast(tuple[int, int], host.padding),
            dilation=cast(tuple[int, int], host.dilation),
            bias=False,
        )
        up = nn.Conv2d(rank, host.out_channels, kernel_size=1, bias=False)
    else:
        raise InputError(
            f"A low-rank branch needs a linear layer or an ungrouped 2-D convolution, not {host}."
        )
    return down, up


class LowRankSet(nn.Module):
    """Low-rank branches on many hosts, as one thing with one scale, such as a LoRA.

    Its state dict has ``{host}.down.weight`` and ``{host}.up.weight`` and nothing else.

    Args:
        hosts: the layers, by dotted path.
        rank: inner width of every branch.
        alpha: see ``LowRank``.
        scale: how much of the branches is added.

    Raises:
        InputError: there are no hosts, or one of them cannot carry the branch.
    """

    def __init__(
        self,
        hosts: Mapping[str, nn.Module],
        *,
        rank: int,
        alpha: float | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.rank = rank
        # All are made before the first is attached: a host that cannot carry one leaves no trace.
        branches = {path: LowRank(host, rank=rank, alpha=alpha) for path, host in hosts.items()}
        for path, branch in branches.items():
            _plant(self, path, branch)
        self.grafts = Grafts(
            {path: Graft(branches[path], scale=scale).attach(host) for path, host in hosts.items()}
        )

    @property
    def scale(self) -> float:
        """How much of the branches is added; setting it takes effect at once."""
        return self.grafts.scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self.grafts.scale = scale

    def remove(self) -> None:
        """Take every branch off its host."""
        self.grafts.remove()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank}; {self.grafts!r})"


def _plant(owner: nn.Module, path: str, module: nn.Module) -> None:
    """Register ``module`` in ``owner`` at a dotted path, with empty modules on the way."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in dict(owner.named_children()):
            owner.add_module(name, nn.Module())
        owner = owner.get_submodule(name)
    owner.add_module(leaf, module)


def attention_projections(unet: UNet2DConditionModel) -> dict[str, nn.Linear]:
    """The q, k, v and output projections of every spatial attention, by dotted path.

    This is where the domain adapter sits (Sec. 4.1), and the usual place of image LoRAs.
    """
    from diffusers.models.attention import BasicTransformerBlock

    return {
        f"{path}.{attention}.{projection}": cast(
            nn.Linear, block.get_submodule(f"{attention}.{projection}")
        )
        for path, block in unet.named_modules()
        if isinstance(block, BasicTransformerBlock)
        for attention in ("attn1", "attn2")
        if getattr(block, attention) is not None
        for projection in PROJECTIONS
    }


@contextmanager
def merged(grafts: Grafts) -> Generator[None]:
    """A fast path: while it lasts, the branches are part of their hosts' weights.

    The branches then cost nothing. Afterwards the hosts have their own weights back, bit for bit,
    and the branches their scale; do not change that scale meanwhile.
    """
    carried = {name: (cast(Host, graft.host), graft.scale) for name, graft in grafts.items()}
    own = {name: host.weight.data for name, (host, _) in carried.items()}
    try:
        for name, (host, scale) in carried.items():
            branch = cast(LowRank, grafts[name].branch)
            with torch.no_grad():
                host.weight.data = own[name] + (scale * branch.delta()).to(own[name])
            grafts[name].scale = 0.0
        yield
    finally:
        for name, (host, scale) in carried.items():
            host.weight.data = own[name]
            grafts[name].scale = scale


def merged_weights(sets: Sequence[tuple[Grafts, float]]) -> dict[Host, Tensor]:
    """The weights that hosts have with branches merged into them, each set at a scale, in this order.

    A host that carries none of them at a scale other than 0 is there with its own.
    """
    hosts = [cast(Host, graft.host) for grafts, _ in sets for graft in grafts.values()]
    with ExitStack() as stack:
        for grafts, scale in sets:
            if scale != 0:
                stack.callback(setattr, grafts, "scale", grafts.scale)
                grafts.scale = scale
                stack.enter_context(merged(grafts))
        return {host: host.weight.data for host in hosts}


@contextmanager
def exchanged(weights: Mapping[Host, Tensor]) -> Generator[None]:
    """While it lasts, layers have these weights; nothing is computed or copied."""
    own = {host: host.weight.data for host in weights}
    try:
        for host, weight in weights.items():
            host.weight.data = weight
        yield
    finally:
        for host, weight in own.items():
            host.weight.data = weight
