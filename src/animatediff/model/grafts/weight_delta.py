"""Changes of a weight, in every form in which personalised styles are published.

LoRA and its descendants all say the same thing, W becomes W + s·ΔW, and differ in how ΔW is written
down. Each form here is a few tensors and one formula; ``merging.py`` adds them to a model's weights
for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

Number = Tensor | float


class WeightDelta(Protocol):
    """A change of one weight."""

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·ΔW for that weight, in fp32, with as many rows and numbers as the weight has."""
        ...


@dataclass(frozen=True)
class LowRankDelta:
    """α/r · B·A (LoRA, arXiv 2106.09685), for convolutions too (LoCon).

    Attributes:
        down: A, ``[r, in, ...]``.
        up: B, ``[out, r, ...]``.
        mid: the core between them where a convolution is decomposed once more, ``[r, r, k, k]``.
        alpha: numerator of the factor; none means the rank, a factor of 1.
    """

    down: Tensor
    up: Tensor
    mid: Tensor | None = None
    alpha: Number | None = None

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·α/r · B·A."""
        up, down = self.up.float().flatten(1), self.down.float()
        if self.mid is None:
            product = (up @ down.flatten(1)).unflatten(1, down.shape[1:])
        else:
            core = self.mid.float()
            product = torch.einsum("or,rskl,si->oikl", up, core, down.flatten(1))
        return scale * _scaled(product, self.alpha, rank=len(down))


@dataclass(frozen=True)
class HadamardDelta:
    """α/r · (B₁·A₁) ⊙ (B₂·A₂) (LoHa, arXiv 2108.06098).

    Attributes:
        first: B₁ and A₁.
        second: B₂ and A₂.
        cores: for convolutions decomposed once more, a core ``[r, r, k, k]`` for each product; B
            is then ``[r, out]``.
        alpha: as for ``LowRankDelta``.
    """

    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    cores: tuple[Tensor, Tensor] | None = None
    alpha: Number | None = None

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·α/r · (B₁·A₁) ⊙ (B₂·A₂)."""
        rank = len(self.first[1])
        if self.cores is None:
            one, two = (b.float() @ a.float() for b, a in (self.first, self.second))
        else:
            one, two = (
                torch.einsum("rskl,si,ro->oikl", core.float(), a.float(), b.float())
                for core, (b, a) in zip(self.cores, (self.first, self.second), strict=True)
            )
        return scale * _scaled(one * two, self.alpha, rank=rank)


@dataclass(frozen=True)
class KroneckerDelta:
    """α/r · C ⊗ D (LoKr, arXiv 2212.10650), each factor whole or a product itself.

    Attributes:
        left: C, or the two whose product it is.
        right: D, or the two whose product it is.
        core: for convolutions decomposed once more, ``[r, r, k, k]`` between the two of D, the
            first then being ``[r, out]``.
        alpha: as for ``LowRankDelta``; where both factors are whole there is no rank, and no factor.
    """

    left: tuple[Tensor, ...]
    right: tuple[Tensor, ...]
    core: Tensor | None = None
    alpha: Number | None = None

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·α/r · C ⊗ D."""
        left, right = _product(self.left), self._right()
        while left.ndim < right.ndim:
            left = left.unsqueeze(-1)
        product = torch.kron(left, right)
        ranks = [len(pair[1]) for pair in (self.right, self.left) if len(pair) == 2]
        return scale * (_scaled(product, self.alpha, rank=ranks[0]) if ranks else product)

    def _right(self) -> Tensor:
        if self.core is None:
            return _product(self.right)
        first, second = (factor.float() for factor in self.right)
        return torch.einsum("rskl,si,ro->oikl", self.core.float(), second, first).contiguous()


@dataclass(frozen=True)
class FullDelta:
    """ΔW itself."""

    difference: Tensor

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·ΔW."""
        return scale * self.difference.float()


@dataclass(frozen=True)
class GainDelta:
    """g ⊙ W ((IA)³, arXiv 2205.05638): a factor for each output, or for each input.

    Attributes:
        gain: g, as many as there are outputs, or inputs.
        on_input: whether it is for the inputs; asked only where their number does not say it.
    """

    gain: Tensor
    on_input: bool = False

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·g ⊙ W."""
        gain = self.gain.float().flatten()
        square = len(weight) == weight.shape[1]
        on_input = self.on_input if square else len(gain) != len(weight)
        shape = (1, -1) if on_input else (-1, 1)
        return scale * weight.float() * gain.view(*shape, *[1] * (weight.ndim - 2))


@dataclass(frozen=True)
class OrthogonalDelta:
    """(R - I)·W, with R a rotation within blocks of outputs (OFT, arXiv 2306.07280).

    R is Cayley's, (I + Q)(I - Q)⁻¹ with Q = P - Pᵀ, and as in the programs that write such files its
    transpose is what multiplies W. Several rotations after each other, their blocks interleaved as
    in a butterfly, are BOFT (arXiv 2311.06243).

    Attributes:
        blocks: P, ``[blocks, n, n]``, or ``[factors, blocks, n, n]`` for a butterfly.
        constraint: the norm of all Q is at most this times the number of outputs; 0 is no bound.
        rescale: a factor for each output besides.
    """

    blocks: Tensor
    constraint: Number | None = None
    rescale: Tensor | None = None

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·(R - I)·W, or for a butterfly what its rotations, each taken s of the way, change."""
        own = weight.float()
        rotations = _part_of_the_way(self._rotations(outputs=len(own)), scale)
        if self.blocks.ndim == 3:
            turned = _rotated(own, rotations)
        else:
            turned = own
            for factor, rotation in enumerate(rotations):
                turned = _butterfly(turned, rotation, factor=factor)
        if self.rescale is not None:
            gain = self.rescale.float().reshape(-1, *[1] * (own.ndim - 1))
            turned = turned * (1 + scale * (gain - 1))
        return turned - own

    def _rotations(self, *, outputs: int) -> Tensor:
        blocks = self.blocks.float()
        skew = blocks - blocks.mT
        if self.constraint is not None:
            most = torch.as_tensor(self.constraint, device=skew.device).float() * outputs
            shrink = (most / (skew.norm() + 1e-8)).clamp(max=1)
            skew = skew * torch.where(most > 0, shrink, 1.0)
        identity = torch.eye(skew.shape[-1], device=skew.device)
        return (identity + skew) @ torch.linalg.inv(identity - skew)


@dataclass(frozen=True)
class RotationDelta:
    """(Rᵀ - I)·W with R itself, as older LyCORIS writes OFT (``oft_diag``).

    Attributes:
        rotations: R within each block of outputs, ``[blocks, n, n]``, any rescaling included.
    """

    rotations: Tensor

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·(Rᵀ - I)·W."""
        own = weight.float()
        return _rotated(own, _part_of_the_way(self.rotations.float(), scale)) - own


@dataclass(frozen=True)
class InputRotationDelta:
    """W·Rᵀ - W, with R a rotation within blocks of inputs (OFTv2 of PEFT, arXiv 2506.19847).

    Each block is stored as the numbers above the diagonal of a skew-symmetric matrix Q, row by row.
    R is I + 2·Q + ... + 2·Qⁿ⁻² + Qⁿ⁻¹, the first n terms of a series (Cayley-Neumann). Without the
    series it is (I - Q)·(I + Q)⁻¹, Cayley's transform, as PEFT computes it; the series has the other
    sign of Q.

    Attributes:
        triangles: of each block of inputs, or of one block for all of them, ``[blocks, n(n-1)/2]``;
            the inputs of a convolution are its channels and the places of its kernel, flattened.
        terms: of the series; none means Cayley's transform.
        transposed: whether R itself multiplies the weight, instead of its transpose.
    """

    triangles: Tensor
    terms: int | None = 5
    transposed: bool = False

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·(W·Rᵀ - W).

        Raises:
            ValueError: the inputs do not divide into such blocks.
        """
        own = weight.float()
        rotations = self._rotations()
        count, size = len(rotations), rotations.shape[-1]
        if own[0].numel() % size or count not in (1, own[0].numel() // size):
            raise ValueError(f"{count} blocks of {size} for {own[0].numel()} inputs")
        blocks = rearrange(own.flatten(1), "o (k n) -> o k n", n=size)
        turning = rotations.mT if self.transposed else rotations
        turned = torch.einsum("kmn,okn->okm", turning.expand(blocks.shape[1], -1, -1), blocks)
        return scale * (turned.reshape(own.shape) - own)

    def _rotations(self) -> Tensor:
        values = self.triangles.float()
        size = (1 + math.isqrt(1 + 8 * values.shape[-1])) // 2
        if values.ndim != 2 or size * (size - 1) // 2 != values.shape[-1]:
            raise ValueError(f"{tuple(values.shape)} holds no triangles of skew matrices")
        above = torch.zeros(len(values), size, size, device=values.device)
        rows, columns = torch.triu_indices(size, size, 1, device=values.device)
        above[:, rows, columns] = values
        skew = above - above.mT
        identity = torch.eye(size, device=values.device)
        if self.terms is None:
            return torch.linalg.solve(identity + skew, identity - skew, left=False)
        # PEFT's series of 3 terms is that of 4.
        last = 0 if self.terms < 2 else 1 if self.terms == 2 else max(self.terms, 4) - 1
        rotations, power = identity.expand_as(skew), identity.expand_as(skew)
        for exponent in range(1, last + 1):
            power = power @ skew
            rotations = rotations + (1 if exponent == last > 1 else 2) * power
        return rotations


@dataclass(frozen=True)
class GeneralisedDelta:
    """α/r · (W·A₂·A₁ + B₂·B₁), a change of the weight and one beside it (GLoRA, arXiv 2306.07967).

    Attributes:
        own: A₁ ``[r, in, ...]`` and A₂ ``[in, r, ...]``.
        beside: B₁ ``[r, in, ...]`` and B₂ ``[out, r, ...]``.
        alpha: numerator of the factor; none means the rank, a factor of 1.
    """

    own: tuple[Tensor, Tensor]
    beside: tuple[Tensor, Tensor]
    alpha: Number | None = None

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·α/r · (W·A₂·A₁ + B₂·B₁), over the inputs of a convolution at each place of its kernel."""
        first, second = (factor.float().flatten(1) for factor in self.own)
        mixed = torch.einsum("oi...,ir,rj->oj...", weight.float(), second, first)
        down, up = (factor.float().flatten(1) for factor in self.beside)
        product = mixed + (up @ down).reshape(mixed.shape)
        return scale * _scaled(product, self.alpha, rank=len(first))


@dataclass(frozen=True)
class DecomposedDelta:
    """m ⊙ (W + ΔW)/‖W + ΔW‖ - W (DoRA, arXiv 2402.09353): direction by another form, length by m.

    Attributes:
        direction: ΔW.
        magnitude: m, one for each output ``[out, 1, ...]`` or each input ``[1, in, ...]``; a plain
            row is for outputs.
    """

    direction: WeightDelta
    magnitude: Tensor

    def of(self, weight: Tensor, *, scale: float) -> Tensor:
        """s·(m ⊙ (W + ΔW)/‖W + ΔW‖ - W)."""
        own, magnitude = weight.float(), self.magnitude.float()
        moved = own + shaped_like(own, self.direction.of(own, scale=1.0))
        for_inputs = magnitude.ndim > 1 and magnitude.shape[:2] == (1, own.shape[1])
        kept = 1 if for_inputs and len(own) != 1 else 0
        shape = [1] * own.ndim
        shape[kept] = own.shape[kept]
        others = [d for d in range(own.ndim) if d != kept]
        length = torch.linalg.vector_norm(moved, dim=others, keepdim=True)
        tiny = torch.finfo(torch.float32).tiny
        return scale * (magnitude.reshape(shape) * moved / length.clamp(min=tiny) - own)


@dataclass(frozen=True)
class Change:
    """A delta, and the weight that it is for.

    Attributes:
        layer: has the weight.
        parameter: ``weight`` or ``bias``.
        delta: the change.
    """

    layer: nn.Module
    parameter: str
    delta: WeightDelta


def shaped_like(weight: Tensor, change: Tensor) -> Tensor:
    """The change in the weight's shape: a pointwise convolution counts as a linear layer.

    Raises:
        ValueError: they differ in more than that.
    """
    rows = weight.shape[:1], change.shape[:1]
    if rows[0] != rows[1] or weight.numel() != change.numel():
        raise ValueError(f"a change of {tuple(change.shape)} for a weight of {tuple(weight.shape)}")
    return change.reshape(weight.shape)


def _scaled(product: Tensor, alpha: Number | None, *, rank: int) -> Tensor:
    return product if alpha is None else (alpha / rank) * product


def _product(factors: tuple[Tensor, ...]) -> Tensor:
    first = factors[0].float()
    return first if len(factors) == 1 else first @ factors[1].float()


def _part_of_the_way(rotations: Tensor, scale: float) -> Tensor:
    """s·R + (1 - s)·I."""
    identity = torch.eye(rotations.shape[-1], device=rotations.device)
    return scale * rotations + (1 - scale) * identity


def _rotated(weight: Tensor, rotations: Tensor) -> Tensor:
    """Each block of rows multiplied by the transpose of its own matrix."""
    blocks = rearrange(weight, "(k n) ... -> k n ...", k=len(rotations))
    turned = torch.einsum("knm,kn...->km...", rotations, blocks)
    return rearrange(turned, "k m ... -> (k m) ...")


def _butterfly(weight: Tensor, rotation: Tensor, *, factor: int) -> Tensor:
    """One factor of a butterfly: rotate rows that lie ``2**factor`` half blocks apart."""
    size = rotation.shape[-1]
    apart = 2**factor * (size // 2)
    mixed = rearrange(weight, "(c g k) ... -> (c k g) ...", g=2, k=apart)
    mixed = rearrange(mixed, "(d b) ... -> d b ...", b=size)
    mixed = torch.einsum("dij,dj...->di...", rotation, mixed)
    mixed = rearrange(mixed, "d b ... -> (d b) ...")
    return rearrange(mixed, "(c k g) ... -> (c g k) ...", g=2, k=apart)
