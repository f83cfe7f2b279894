"""The built-in tokenizer: CLIP's format, whole words for captions, tokens for any script."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.world.stages.text_encoder import TextEncoderLesson, new_text_encoder
from animatediff.world.stages.tokenizer import learn_merges, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    merges = learn_merges(Counter({"fox": 50, "boxes": 20, "style": 50, "waving": 30}), count=40)
    write_tokenizer(merges, folder)
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)


def test_frequent_words_are_one_token(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer.tokenize("A fox waving, style") == [
        "a</w>",
        "fox</w>",
        "waving</w>",
        ",</w>",
        "style</w>",
    ]


@pytest.mark.parametrize("text", ["狐狸", "ثعلب", "лиса", "🦊", "zyx-qqq 12"])
def test_text_in_any_script_has_tokens_of_its_own(tokenizer: CLIPTokenizer, text: str) -> None:
    tokens = tokenizer(text).input_ids
    assert len(tokens) > 2
    assert tokens.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(tokens, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )


def test_the_student_learns_to_agree_with_its_teacher(tokenizer: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    tokens = tokenizer(["fox", "boxes", "waving fox"], padding="max_length", max_length=8)
    end = tokenizer.eos_token_id
    taught = torch.nn.functional.normalize(torch.randn(3, 384), dim=-1)
    encoder = new_text_encoder(vocabulary=len(tokenizer), end_token=end)
    lesson = TextEncoderLesson(encoder, torch.tensor(tokens.input_ids), taught, end)
    optimizer = torch.optim.AdamW(lesson.learns.parameters(), lr=1e-3)
    first = None
    for _ in range(20):
        terms = lesson.losses(torch.arange(3), torch.Generator())
        first = first if first is not None else float(terms["loss"].detach())
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert float(terms["agreement"].detach()) > 0.8
    assert float(terms["loss"].detach()) < 0.3 * first
