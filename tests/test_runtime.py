"""What is told of a device before anything runs on it."""

from __future__ import annotations

import pytest
import torch

from animatediff.errors import InputError
from animatediff.runtime import Runtime, computes_bf16


@pytest.mark.parametrize(
    ("instructions", "does"),
    [
        ({"avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, False),
    ],
)
def test_a_processor_computes_in_bf16_if_its_instructions_say_so(
    instructions: dict[str, bool], does: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert computes_bf16(torch.device("cpu")) is does


@pytest.mark.parametrize(("computes", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_processor_draws_in_bf16_if_it_computes_in_it(
    computes: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("animatediff.runtime.computes_bf16", lambda _: computes)
    assert Runtime(device="cpu").torch_dtype() == dtype
    assert Runtime(device="cpu", precision="fp32").torch_dtype() == torch.float32


def test_low_memory_is_refused_where_it_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="compute on the CPU; leave it out"):
        Runtime(device="cpu", memory="low").apply()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    low = Runtime(device="cuda", memory="low")
    low.apply()
    assert (low.torch_device().type, low.weights_device().type) == ("cuda", "cpu")
    assert Runtime(device="cuda").weights_device().type == "cuda"
    with pytest.raises(InputError, match="leave out --compile"):
        Runtime(device="cuda", memory="low", compile=True).apply()


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_so_many_threads_cannot_be(threads: int) -> None:
    before = torch.get_num_threads()
    with pytest.raises(InputError, match="use 1 to 1024"):
        Runtime(threads=threads).apply()
    assert torch.get_num_threads() == before
