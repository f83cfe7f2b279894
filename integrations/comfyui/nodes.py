"""The nodes: animate on a server, animate in this process, and save with the settings inside."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from animatediff.sampling.request import SCHEMA, AnimationRequest

from .inputs import request_fields, request_inputs

CATEGORY = "AnimateDiff"
RETURNED = ("IMAGE", "FLOAT", "STRING")
RETURNED_NAMES = ("frames", "fps", "request")
_TIPS = (
    "The frames, as a batch of images.",
    "Frames a second.",
    "The complete request as JSON: the same request gives the same frames.",
)


class AnimateOnServer:
    """Queue the animation on an ``animatediff serve`` and wait for it; the model runs there."""

    CATEGORY = CATEGORY
    FUNCTION = "animate"
    RETURN_TYPES = RETURNED
    RETURN_NAMES = RETURNED_NAMES
    OUTPUT_TOOLTIPS = _TIPS
    DESCRIPTION = "Animate a prompt on a running `animatediff serve`."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The inputs of ComfyUI's protocol."""
        server = (
            "STRING",
            {"default": "http://127.0.0.1:8188", "tooltip": "The server's address."},
        )
        token = (
            "STRING",
            {"default": "", "tooltip": "A file that holds the server's token, if it needs one."},
        )
        return {"required": request_inputs(), "optional": {"server": server, "token_file": token}}

    def animate(
        self, server: str = "http://127.0.0.1:8188", token_file: str = "", **values: Any
    ) -> tuple[Any, float, str]:
        """Run the node."""
        from animatediff.client import Client
        from animatediff.video import Video

        fields = request_fields(values)
        prompt = fields.pop("prompt")
        # A token typed into a node would be stored in every workflow; a file is not.
        token = Path(token_file).read_text().strip() if token_file.strip() else ""
        bar = _Bar()
        with Client(server, token=token) as client:
            job = client.submit(prompt, settings=fields, formats=("apng",))
            try:
                done = client.wait(job.id, on_progress=lambda p: bar.at(p.fraction))
            except BaseException:
                client.cancel(job.id)
                raise
            with tempfile.TemporaryDirectory() as folder:
                path = client.download(done.results[0], Path(folder) / "frames.png")
                video = Video.load(path)
        request = {"schema": SCHEMA, **done.request, **(done.resolved or {})}
        return _images(video.frames), float(video.fps), json.dumps(request)


class AnimateHere:
    """Animate in ComfyUI's own process; the model stays loaded until another is asked for."""

    CATEGORY = CATEGORY
    FUNCTION = "animate"
    RETURN_TYPES = RETURNED
    RETURN_NAMES = RETURNED_NAMES
    OUTPUT_TOOLTIPS = _TIPS
    DESCRIPTION = "Animate a prompt with the installed animatediff package."
    _loaded: ClassVar[dict[str, Any]] = {}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The inputs of ComfyUI's protocol."""
        device = ("STRING", {"default": "auto", "tooltip": "auto, cpu, cuda, cuda:1 or mps."})
        return {"required": request_inputs(), "optional": {"device": device}}

    def animate(self, device: str = "auto", **values: Any) -> tuple[Any, float, str]:
        """Run the node."""
        request = AnimationRequest(**request_fields(values)).validated()
        bar = _Bar()
        animation = self._animator(request, device).animate(
            request, on_step=lambda step: bar.at(step.step / step.steps, stage=step.stage)
        )
        video = animation.video
        return _images(video.frames), float(video.fps), animation.request.to_json()

    @classmethod
    def _animator(cls, request: AnimationRequest, device: str) -> Any:
        from animatediff import Animator, Runtime
        from animatediff.weights.roles import usable_roles

        files = {
            role.field: getattr(request, role.field)
            for role in usable_roles()
            if not role.per_request
        }
        runtime = Runtime(device=device, precision=request.precision, quantise=request.quantise)
        key = repr((sorted(files.items()), runtime))
        if key not in cls._loaded:
            cls._loaded.clear()
            cls._loaded[key] = Animator.for_request(request, runtime=runtime)
        return cls._loaded[key]


class SaveAnimation:
    """Write frames to ComfyUI's output folder as one file that holds the request that made them."""

    CATEGORY = CATEGORY
    FUNCTION = "save"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    DESCRIPTION = "Save frames as mp4, webm, gif, webp or apng, with the request inside."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """The inputs of ComfyUI's protocol."""
        return {
            "required": {
                "frames": ("IMAGE", {}),
                "fps": ("FLOAT", {"default": 8.0, "min": 0.1, "max": 120.0, "step": 0.001}),
                "name": ("STRING", {"default": "animatediff"}),
                "format": (["mp4", "webm", "gif", "webp", "apng"], {}),
            },
            "optional": {"request": ("STRING", {"default": "", "forceInput": True})},
        }

    def save(
        self,
        frames: Any,
        fps: float,
        name: str,
        format: str,  # noqa: A002 - the name of the input
        request: str = "",
    ) -> dict[str, Any]:
        """Run the node."""
        import folder_paths

        from animatediff.video import Video

        height, width = int(frames.shape[1]), int(frames.shape[2])
        folder, stem, counter, subfolder, _ = folder_paths.get_save_image_path(
            name, folder_paths.get_output_directory(), width, height
        )
        suffix = "png" if format == "apng" else format
        path = Path(folder) / f"{stem}_{counter:05}_.{suffix}"
        pixels = (frames.clamp(0, 1) * 255).round().byte().cpu().numpy()
        facts = {"animatediff": json.dumps({"request": json.loads(request)})} if request else {}
        written = Video(pixels, Fraction(str(fps))).save(path, metadata=facts)
        shown = {"filename": written.name, "subfolder": subfolder, "type": "output"}
        return {"ui": {"images": [shown], "animated": (True,)}}


class _Bar:
    """ComfyUI's progress bar; a step also ends the run if the user pressed cancel."""

    def __init__(self) -> None:
        from comfy.utils import ProgressBar

        self._bar = ProgressBar(100)

    def at(self, fraction: float, *, stage: str = "") -> None:
        from comfy.model_management import throw_exception_if_processing_interrupted

        throw_exception_if_processing_interrupted()
        share = {"denoise": 0.85 * fraction, "decode": 0.85 + 0.15 * fraction}.get(stage, fraction)
        self._bar.update_absolute(round(100 * share), 100)


def _images(frames: Any) -> Any:
    """uint8 frames as ComfyUI's images: floats from 0 to 1 of ``batch height width channels``."""
    import torch

    return torch.from_numpy(frames.copy()).float() / 255


NODE_CLASS_MAPPINGS = {
    "AnimateDiffOnServer": AnimateOnServer,
    "AnimateDiffHere": AnimateHere,
    "AnimateDiffSave": SaveAnimation,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "AnimateDiffOnServer": "AnimateDiff (server)",
    "AnimateDiffHere": "AnimateDiff (this machine)",
    "AnimateDiffSave": "Save animation with its request",
}
