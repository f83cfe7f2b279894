"""CLIP (Radford et al., arXiv 2103.00020) as the judge of Table 1, from a user's folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.evaluation.judges.folders import config_of, digest_of, load_network, weights_of
from animatediff.evaluation.judges.judge import Frames, Seen
from animatediff.weights.image_model.tokenizer import clip_tokenizer, read_tokenizer
from animatediff.weights.image_prompts.image_encoder import clip_pixels

OPTION = "--clip"
_BATCH = 16


class ClipJudge:
    """CLIP with both encoders, read at its first use.

    Args:
        folder: in transformers' layout: ``config.json``, ``model.safetensors``, and the tokenizer's
            files unless it is the published one.
        device: where it runs, in fp32.

    Raises:
        FileError: the folder does not contain a CLIP model.
    """

    def __init__(self, folder: Path, *, device: torch.device | None = None) -> None:
        self.folder = folder
        self.device = device or torch.device("cpu")
        config = config_of(folder, option=OPTION, kinds=("clip",))
        weights_of(folder, option=OPTION)
        self._side = int((config.get("vision_config") or {}).get("image_size", 224))
        self._rows = int((config.get("text_config") or {}).get("max_position_embeddings", 77))

    @property
    def name(self) -> str:
        """Name in tables: the folder's."""
        return f"CLIP {self.folder.resolve().name}"

    @property
    def digest(self) -> str:
        """Hash of configuration and weights."""
        return digest_of(self.folder, option=OPTION)

    @cached_property
    def _network(self) -> Any:
        from transformers.models.clip.modeling_clip import CLIPModel

        return load_network(self.folder, CLIPModel, option=OPTION).to(self.device)

    @cached_property
    def _tokenizer(self) -> Any:
        own = (self.folder / "vocab.json").is_file()
        return read_tokenizer(self.folder) if own else clip_tokenizer()

    @torch.inference_mode()
    def see(self, frames: Frames) -> Seen:
        """Return the embeddings of frames, whose shorter side is resized and whose centre is read."""
        rows: list[Tensor] = []
        for start in range(0, len(frames), _BATCH):
            batch = [clip_pixels(f, side=self._side) for f in frames[start : start + _BATCH]]
            network = self._network
            hidden = network.vision_model(torch.stack(batch).to(self.device)).pooler_output
            rows.append(network.visual_projection(hidden).cpu())
        together = torch.cat(rows)
        return Seen(together, together)

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Float[Tensor, "n e"]:
        """Return the embeddings of texts; what exceeds CLIP's 77 tokens is not read."""
        tokens = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._rows,
            return_tensors="pt",
        ).to(self.device)
        network = self._network
        hidden = network.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return network.text_projection(hidden).cpu()
