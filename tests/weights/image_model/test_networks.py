"""What a cold start imports and reads: only what the first step needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from animatediff.errors import Cancelled, FileError
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage import files

FORKING = """
import json, os, sys, torch
for line in sys.stdin:
    program, modules = json.loads(line)
    child = os.fork()
    if child == 0:
        exec(program, {"__name__": "__main__", "sys": sys})
        with open(modules, "w") as file:
            print(*sys.modules, file=file)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def after_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], set[str]]]:
    """The modules after a program in a process that has imported torch and nothing else."""
    path = tmp_path_factory.mktemp("modules") / "modules"
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    ) as process:
        given, ended = process.stdin, process.stdout
        assert given is not None
        assert ended is not None

        def run(program: str) -> set[str]:
            given.write(json.dumps([program, str(path)]) + "\n")
            given.flush()
            assert ended.readline() == "0\n"
            return set(path.read_text().split())

        yield run


def modules_after(program: str) -> set[str]:
    """The modules that a fresh interpreter has after a program."""
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    return set(ended.stdout.split())


def test_the_public_names_come_without_the_libraries_of_networks(
    after_torch: Callable[[str], set[str]],
) -> None:
    modules = after_torch("from animatediff import Animation, AnimationRequest, Animator, Runtime")
    heavy = {"accelerate", "cv2", "diffusers", "pandas", "scipy", "tokenizers", "transformers"}
    assert modules & heavy == set()


def test_the_command_line_comes_without_torch() -> None:
    modules = modules_after("import animatediff.apps.cli, animatediff.apps.commands.animate")
    assert modules & {"torch", "diffusers", "transformers", "av"} == set()


def test_an_animation_begins_without_what_it_does_not_need(
    tiny_world: Path, tiny_motion: Path, after_torch: Callable[[str], set[str]]
) -> None:
    modules = after_torch(
        f"""
from animatediff import AnimationRequest, Animator
from animatediff.errors import Cancelled
names = {{"model": {str(tiny_world)!r}, "motion": {str(tiny_motion)!r}}}
animator = Animator.load(**names)
steps = []
try:
    animator.animate(
        AnimationRequest(prompt="a fox", num_frames=2, **names),
        on_step=steps.append,
        should_stop=lambda: bool(steps),
    )
except Cancelled:
    pass
assert steps
assert all(weights.is_meta for weights in animator.base.pending_vae.part.module.parameters())
"""
    )
    unused = {
        "cv2",
        "pandas",
        "diffusers.models.autoencoders.autoencoder_kl_cogvideox",
        "diffusers.models.transformers.transformer_flux",
        "diffusers.models.unets.unet_motion_model",
        "diffusers.pipelines.pipeline_utils",
        "scipy.integrate._quadpack_py",
        "scipy.stats._stats_py",
        "accelerate.state",
        "jinja2",
        "matplotlib",
        "onnx",
        "requests",
        "scipy.linalg",
        "sklearn",
        "sympy",
        "torch._dynamo",
        "torch._inductor",
        "torch.distributed.tensor",
        "torch.onnx",
        "torch.utils.tensorboard",
        "transformers.generation.utils",
        "transformers.quantizers.auto",
    }
    assert modules & unused == set()


def test_a_package_that_waited_has_everything_once_it_is_asked(
    after_torch: Callable[[str], set[str]],
) -> None:
    modules = after_torch(
        """
from animatediff.weights.image_model.networks import WAITING, import_networks
import_networks()
from diffusers.models.unets import UNet1DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
import diffusers.models.unets as unets
assert unets.UNet2DConditionModel is UNet2DConditionModel
from diffusers import FluxTransformer2DModel, UNetMotionModel
from transformers import BertModel, CLIPTextModel
from transformers.models.clip.modeling_clip import CLIPTextModel as SameTextModel
assert CLIPTextModel is SameTextModel
from accelerate import Accelerator
from accelerate.hooks import AlignDevicesHook
import diffusers.loaders.lora_base
assert not isinstance(3, diffusers.loaders.lora_base.AlignDevicesHook)
import torch._dynamo
from diffusers.models.attention import BasicTransformerBlock
assert torch._dynamo.trace_rules.is_callable_allowed(BasicTransformerBlock)
assert not any(type(finder).__module__.startswith("animatediff") for finder in sys.meta_path)
assert not hasattr(unets, "no_such_name")
try:
    from diffusers.models.unets import no_such_name
except ImportError as error:
    assert "no_such_name" in str(error)
else:
    raise AssertionError
"""
    )
    assert "diffusers.models.unets.unet_1d" in modules


def test_other_versions_are_imported_without_a_list_of_their_modules(
    after_torch: Callable[[str], set[str]],
) -> None:
    modules = after_torch(
        """
from animatediff.weights.image_model import networks
networks.KNOWN["transformers"] = "0.0"
networks.import_networks()
"""
    )
    assert "torch._dynamo" in modules
    assert "diffusers.models.unets.unet_motion_model" not in modules


def test_no_file_is_hashed_before_the_first_step(
    tiny_world: Path, tiny_motion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("hashed")

    monkeypatch.setattr(files, "_sha256", refuse)
    names = {"model": str(tiny_world), "motion": str(tiny_motion)}
    steps: list[object] = []
    with pytest.raises(Cancelled):
        Animator.load(**names).animate(
            AnimationRequest(prompt="a fox", num_frames=2, **names),
            on_step=steps.append,
            should_stop=lambda: bool(steps),
        )


def test_an_autoencoder_that_changed_before_its_first_use_is_named(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    own = tmp_path / "vae.safetensors"
    own.write_bytes((tiny_world / "vae" / "diffusion_pytorch_model.safetensors").read_bytes())
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion), vae=str(own))
    own.write_bytes(own.read_bytes()[:-8])
    with pytest.raises(FileError, match=r"vae\.safetensors is truncated"):
        animator.base.vae  # noqa: B018 - read at its first use
