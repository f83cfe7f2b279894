"""The ComfyUI nodes, driven as ComfyUI drives nodes: by their declared inputs, outputs and function."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.apps.page.service import serving, settings_in

from animatediff.sampling.metadata import load_request

FOLDER = Path(__file__).parents[2] / "integrations/comfyui"
TYPES = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}


class Interrupted(Exception):
    """The user pressed cancel."""


class Comfy:
    """What nodes import of ComfyUI, and its executor: it checks inputs as ComfyUI does."""

    def __init__(self, output: Path) -> None:
        self.progress: list[int] = []
        self.interrupted = False
        self.output = output

    def modules(self) -> dict[str, ModuleType]:
        comfy = self

        class ProgressBar:
            def __init__(self, total: int) -> None:
                assert total == 100

            def update_absolute(self, value: int, total: int | None = None) -> None:
                comfy.progress.append(value)

        def throw_exception_if_processing_interrupted() -> None:
            if comfy.interrupted:
                raise Interrupted

        def get_save_image_path(
            prefix: str, folder: str, width: int, height: int
        ) -> tuple[str, str, int, str, str]:
            return folder, prefix, 1, "", prefix

        return {
            "comfy": _module("comfy"),
            "comfy.utils": _module("comfy.utils", ProgressBar=ProgressBar),
            "comfy.model_management": _module(
                "comfy.model_management",
                throw_exception_if_processing_interrupted=throw_exception_if_processing_interrupted,
            ),
            "folder_paths": _module(
                "folder_paths",
                get_output_directory=lambda: str(self.output),
                get_save_image_path=get_save_image_path,
            ),
        }

    def run(self, node: Any, **given: Any) -> Any:
        inputs = node.INPUT_TYPES()
        known = {**inputs["required"], **inputs.get("optional", {})}
        assert set(given) <= set(known)
        values = {
            name: given[name] if name in given else _default(kind, facts)
            for name, (kind, facts) in known.items()
            if name in given or name in inputs["required"]
        }
        for name, value in values.items():
            _check(*known[name], value)
        found = getattr(node(), node.FUNCTION)(**values)
        if not node.RETURN_TYPES:
            return found
        assert len(found) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
        return dict(zip(node.RETURN_NAMES, found, strict=True))


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


def _default(kind: Any, facts: dict[str, Any]) -> Any:
    return kind[0] if isinstance(kind, list) else facts["default"]


def _check(kind: Any, facts: dict[str, Any], value: Any) -> None:
    if isinstance(kind, list):
        assert value in kind
    elif kind in TYPES:
        assert isinstance(value, TYPES[kind])
        if "min" in facts:
            assert facts["min"] <= value <= facts["max"]
    else:
        assert kind == "IMAGE"
        assert value.ndim == 4


@pytest.fixture
def comfy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comfy:
    (tmp_path / "output").mkdir()
    stub = Comfy(tmp_path / "output")
    for name, module in stub.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return stub


@pytest.fixture
def nodes(comfy: Comfy, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The nodes, imported as ComfyUI imports a folder of custom nodes."""
    name = "custom_nodes_animatediff"
    spec = importlib.util.spec_from_file_location(
        name, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(module.NODE_CLASS_MAPPINGS)
    return module.NODE_CLASS_MAPPINGS


@pytest.fixture
def server(tmp_path: Path) -> Generator[str]:
    with serving(settings_in(tmp_path / "service")) as running:
        yield running.url


def test_a_server_animates_for_comfyui(comfy: Comfy, nodes: dict[str, Any], server: str) -> None:
    found = comfy.run(
        nodes["AnimateDiffOnServer"],
        server=server,
        prompt="a fox",
        seed=7,
        steps=4,
        keyframes="0: at dawn\n8: at dusk",
        settings='{"guidance_rescale": 0.5}',
    )
    assert found["frames"].shape == (16, 64, 64, 3)
    assert found["frames"].dtype == torch.float32
    assert 0 <= found["frames"].min() < found["frames"].max() <= 1
    assert found["fps"] == 8.0
    request = json.loads(found["request"])
    assert (request["prompt"], request["seed"], request["steps"]) == ("a fox", 7, 4)
    assert request["prompts"] == {"0": "at dawn", "8": "at dusk"}
    assert request["guidance_rescale"] == 0.5
    assert comfy.progress == sorted(comfy.progress)


def test_a_cancelled_run_cancels_the_job(comfy: Comfy, nodes: dict[str, Any], server: str) -> None:
    from animatediff.client import Client

    comfy.interrupted = True
    with pytest.raises(Interrupted):
        comfy.run(nodes["AnimateDiffOnServer"], server=server, prompt="a fox", steps=200)
    with Client(server) as client:
        (job,) = client.jobs()
        assert client.job(job.id).state in ("cancelled", "running")


def test_frames_are_saved_with_their_request(
    comfy: Comfy, nodes: dict[str, Any], server: str
) -> None:
    made = comfy.run(nodes["AnimateDiffOnServer"], server=server, prompt="a fox", seed=7, steps=2)
    request = json.loads(made["request"])
    for name in ("mp4", "webp", "gif"):
        found = comfy.run(nodes["AnimateDiffSave"], **made, name=f"fox-{name}", format=name)
        (shown,) = found["ui"]["images"]
        written = comfy.output / shown["filename"]
        assert load_request(written, check_weights=False).seed == request["seed"]


def test_what_is_left_open_is_left_to_the_model(nodes: dict[str, Any]) -> None:
    module = sys.modules["custom_nodes_animatediff.inputs"]
    inputs = module.request_inputs()
    values = {name: _default(kind, facts) for name, (kind, facts) in inputs.items()}
    assert module.request_fields({**values, "prompt": "a fox"}) == {"prompt": "a fox"}
    with pytest.raises(ValueError, match="has no frame"):
        module.request_fields({**values, "keyframes": "a hare"})
    with pytest.raises(ValueError, match="not JSON"):
        module.request_fields({**values, "settings": "{"})


def test_the_package_animates_in_comfyui(
    comfy: Comfy, nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fractions import Fraction
    from types import SimpleNamespace

    import numpy as np

    import animatediff
    from animatediff.video import Video

    loads: list[str] = []
    quantised: list[str | None] = []

    class Animator:
        @classmethod
        def for_request(cls, request: Any, *, runtime: Any) -> Any:
            loads.append(request.model)
            quantised.append(runtime.quantise)
            return cls()

        def animate(self, request: Any, *, on_step: Any) -> Any:
            on_step(SimpleNamespace(stage="denoise", step=1, steps=2))
            frames = np.zeros((request.num_frames, 8, 8, 3), np.uint8)
            return SimpleNamespace(video=Video(frames, Fraction(8)), request=request)

    monkeypatch.setattr(animatediff, "Animator", Animator, raising=False)
    for seed in (1, 2):
        found = comfy.run(
            nodes["AnimateDiffHere"], prompt="a fox", model="emoji", num_frames=4, seed=seed
        )
        assert found["frames"].shape == (4, 8, 8, 3)
    assert loads == ["emoji"], "the model stays loaded"
    comfy.run(nodes["AnimateDiffHere"], prompt="a fox", model="emoji", motion="none", num_frames=4)
    assert len(loads) == 2
    settings = '{"quantise": "int8", "motion": "none"}'
    comfy.run(
        nodes["AnimateDiffHere"], prompt="a fox", model="emoji", num_frames=4, settings=settings
    )
    assert quantised == [None, None, "int8"]
    assert comfy.progress == [42] * 4
