"""Stage ``text-encoder``: prepare phrases and tokenizer, and save the encoder."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.data.shards import read_shards
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.stages.write_weights import write_model
from animatediff.weights.storage.files import write_weights
from animatediff.world.art.captions import LOOKS, MANNERS, taught_phrases
from animatediff.world.stages.folder import image_model, write_index
from animatediff.world.stages.text_encoder import (
    TextEncoderLesson,
    new_text_encoder,
    teach,
    teacher_folder,
)
from animatediff.world.stages.tokenizer import learn_merges, write_tokenizer

MERGES, PHRASES, LONGEST = 3500, 160_000, 32


def prepare(work: Path) -> Lesson:
    """Train the tokenizer, compute the teacher's embeddings (once), and create a text encoder."""
    metas = [s.meta for kind in ("stills", "clips") for s in read_shards(work / kind)]
    vocabulary = BertTokenizer.from_pretrained(
        str(teacher_folder()), local_files_only=True
    ).get_vocab()
    words = sorted(w for w in vocabulary if re.fullmatch(r"[a-z]{3,}", w))
    folder = image_model(work) / "tokenizer"
    write_tokenizer(learn_merges(_weighted(metas, words), count=MERGES), folder)
    write_index(work)
    tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    stored = work / "taught.safetensors"
    if not stored.exists():
        phrases = taught_phrases(metas, words, count=PHRASES, seed=0)
        tokens = tokenizer(phrases, padding="max_length", truncation=True, max_length=LONGEST)
        taught = {"tokens": torch.tensor(tokens.input_ids), "taught": teach(phrases)}
        write_weights(stored, taught, metadata={})
    lesson = load_file(stored)
    end = cast(int, tokenizer.eos_token_id)
    torch.manual_seed(0)
    encoder = new_text_encoder(vocabulary=len(tokenizer), end_token=end)
    return TextEncoderLesson(encoder, lesson["tokens"], lesson["taught"], end)


def keep(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the encoder without its distillation head."""
    assert isinstance(lesson, TextEncoderLesson)
    lesson.learns.load_state_dict(learned)
    return write_model(image_model(work) / "text_encoder", lesson.text_encoder)


def _weighted(metas: list[dict[str, Any]], words: list[str]) -> Counter[str]:
    """Return words with weights for the tokenizer: captions', then tags', then others."""
    counts = Counter(words)
    for meta in metas:
        for text, weight in (
            (f"{meta['label']} {meta['style_phrase']} {meta.get('motion', '')}", 10),
            (" ".join(meta["tags"]), 2),
        ):
            for word in re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]+", text):
                counts[word] += weight
    for word in (*MANNERS, *LOOKS):
        counts[word] += 100
    return counts
