"""The protocol with a scorer that reads colours: red is the concept, green is the style."""

from dataclasses import dataclass, replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from animatediff.data.shards import Sample
from animatediff.errors import InputError
from animatediff.evaluation.kept.animations import KeptAnimations, fingerprint_of
from animatediff.evaluation.reports import as_json
from animatediff.world.protocol.autoencoder import judge_autoencoder, mean_squared_error, psnr
from animatediff.world.protocol.motion import choose_clips, judge_motion, real_frames
from animatediff.world.protocol.pictures import choose_pictures, judge_pictures
from animatediff.world.protocol.subjects import Subject, drawn_by
from animatediff.world.protocol.transfer import in_style, judge_transfer
from animatediff.world.scoring.scorer import Judgement
from animatediff.world.scoring.training import clip_ceilings

STYLES = ("flat", "noto", "3d")
COUNT = 12


class ColourScorer:
    """Reads the darkest pixel's red and green, twenty levels to a concept or style."""

    facts = SimpleNamespace(labels=tuple(f"thing {i}" for i in range(COUNT)), styles=STYLES)

    def index_of(self, hexcode: str) -> int:
        return int(hexcode)

    def judge(self, frames: np.ndarray) -> Judgement:
        ink = frames.reshape(len(frames), -1, 3).min(axis=1)
        concepts = torch.from_numpy(ink[:, 0].astype(int) // 20)
        return Judgement(
            features=F.one_hot(concepts, COUNT + 1).float(),
            embeddings=F.one_hot(concepts, COUNT + 1).float(),
            concepts=concepts[:, None] + torch.arange(5) * 100,
            styles=tuple(STYLES[min(green // 20, 2)] for green in ink[:, 1]),
        )

    def embed_text(self, sentences) -> torch.Tensor:
        concepts = torch.tensor([int(words.split(",")[0].split()[1]) for words in sentences])
        return F.one_hot(concepts, COUNT + 1).float()


def meta(number: int, style: str, *, split: str = "train") -> dict:
    return {
        "hexcode": str(number),
        "label": f"thing {number}",
        "style": style,
        "style_phrase": f"{style} style",
        "held_out_style": style == "noto",
        "split": split,
        "group": 1,
        "caption": f"thing {number}, {style} style",
    }


def square(number: int, style: str, *, left: int = 20) -> np.ndarray:
    frame = np.full((128, 128, 3), 255, dtype=np.uint8)
    texture = np.random.default_rng(number).integers(0, 200, (8, 8)).astype(np.uint8)
    frame[40:72, left : left + 32, 2] = texture.repeat(4, axis=0).repeat(4, axis=1)
    frame[40:72, left : left + 32, 0] = number * 20
    frame[40:72, left : left + 32, 1] = STYLES.index(style) * 20
    return frame


def sliding(number: int, style: str, *, step: int, count: int = 8) -> np.ndarray:
    return np.stack([square(number, style, left=20 + step * frame) for frame in range(count)])


def clip(number: int, *, step: int = 3, split: str = "train") -> Sample:
    rgb = sliding(number, "3d", step=step)
    rgba = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=-1)
    facts = meta(number, "3d", split=split) | {"frames": len(rgb), "fps": 8}
    return Sample(f"{number}_clip", facts, rgba.reshape(-1, 128, 4))


def still(number: int, style: str, *, split: str = "train") -> Sample:
    rgb = square(number, style)
    rgba = np.concatenate([rgb, np.full_like(rgb[..., :1], 255)], axis=-1)
    return Sample(f"{number}_{style}", meta(number, style, split=split), rgba)


def asked(prompt: str) -> tuple[int, str]:
    label, *_, style = prompt.split(", ")
    return int(label.split()[1]), style.removesuffix(" style")


def drawing(*, step: int):
    def draw(prompt: str, *, seed: int) -> np.ndarray:
        return sliding(*asked(prompt), step=step)

    return draw


CLIPS = tuple(clip(number) for number in range(COUNT))


def test_a_model_that_moves_as_the_clips_do_passes():
    report = judge_motion(
        drawing(step=3), CLIPS, scorer=ColourScorer(), convolution=drawing(step=0), num_frames=8
    )
    ours = report.transformer
    assert ours.flow_to_reference.value == pytest.approx(1)
    assert ours.flow.value == pytest.approx(3, rel=0.2)
    assert (ours.frozen.count, ours.falling_apart.count, ours.recognised.count) == (0, 0, COUNT)
    assert ours.style_named.share == 1
    assert ours.style_named.total == COUNT * 8
    assert report.convolution.frozen.share == 1
    assert report.convolution.flow.value == pytest.approx(0, abs=0.05)
    assert report.transformer_over_convolution.flow_wins.share == 1
    missed = [row.name for row in report.rows() if row.met is False]
    assert missed == ["Transformer beats the convolution on text score (mean difference)"]


def test_a_frozen_model_fails():
    report = judge_motion(drawing(step=0), CLIPS, scorer=ColourScorer(), num_frames=8)
    assert report.convolution is None
    assert [row.met for row in report.rows() if row.target] == [False, False, True]


def test_falling_apart_is_lost_in_the_last_frame_having_been_there_in_the_first():
    def draw(prompt: str, *, seed: int) -> np.ndarray:
        number, style = asked(prompt)
        frames = sliding(number, style, step=3)
        if number < 3:
            frames[-1] = square(COUNT, style)
        if number == 4:
            frames[0] = square(COUNT, style)
        return frames

    marks = judge_motion(draw, CLIPS, scorer=ColourScorer(), num_frames=8).transformer
    assert (marks.falling_apart.count, marks.falling_apart.total) == (3, COUNT)
    assert (marks.falling_apart_if_recognised.count, marks.recognised.count) == (3, COUNT - 1)


def test_motion_carried_over_is_judged_against_the_base_and_by_the_named_style():
    report = judge_transfer(
        drawing(step=4),
        {"noto by LoRA": drawing(step=4), "noto, still": drawing(step=1)},
        CLIPS,
        scorer=ColourScorer(),
        style="noto",
        phrase="noto style",
    )
    good, poor = report.personalised.values()
    assert good.flow_to_reference.value == pytest.approx(1, rel=0.01)
    assert good.style_named.share == 1
    assert poor.flow_to_reference.value < 0.5
    assert all(a.subject.prompt.endswith("noto style") for a in good.animations)
    assert [row.met for row in report.rows() if row.target] == [True, True, False, True]
    with pytest.raises(InputError, match="no style 'oil'"):
        judge_transfer(
            drawing(step=1), {}, CLIPS, scorer=ColourScorer(), style="oil", phrase="oil style"
        )


def test_pictures_are_judged_by_concept_and_by_style():
    stills = [still(n, s) for n in range(COUNT) for s in STYLES]
    subjects = choose_pictures(stills)
    assert {int(subject.hexcode) for subject in subjects} == set(range(COUNT))
    assert {subject.style for subject in subjects} == {"flat", "3d"}  # noto is held out

    def draw(prompt: str, *, seed: int) -> np.ndarray:
        number, style = asked(prompt)
        wrong = number < 3
        return sliding(COUNT if wrong else number, "noto" if number == 5 else style, step=0)

    report = judge_pictures(draw, subjects, scorer=ColourScorer())
    assert (report.top5.count, report.style.count) == (COUNT - 3, COUNT - 1)
    assert report.text.total == COUNT
    assert sum(share.total for share, _ in report.by_style.values()) == COUNT


def test_the_same_choice_is_made_again_and_held_out_concepts_never_are():
    stills = [
        still(n, s, split="test" if n == 7 else "train") for n in range(COUNT) for s in STYLES
    ]
    some = choose_pictures(stills, limit=5, seed=3)
    assert some == choose_pictures(list(reversed(stills)), limit=5, seed=3)
    assert len({subject.hexcode for subject in some}) == 5
    everything = choose_pictures(stills)
    assert "7" not in {subject.hexcode for subject in everything}
    clips = [clip(n, split="val" if n % 2 else "train") for n in range(COUNT)]
    assert {int(c.meta["hexcode"]) % 2 for c in choose_clips(clips)} == {0}
    assert len(choose_clips(clips, count=4, splits=("train", "val"))) == 4
    with pytest.raises(InputError, match="No clip"):
        choose_clips(clips, splits=("test",))


def test_a_concept_has_the_same_seed_for_every_model():
    subject = Subject.of(still(1, "flat"), seed=0)
    other = Subject.of(clip(1), seed=0)
    assert subject.seed == other.seed
    assert subject.seed != Subject.of(clip(2), seed=0).seed
    assert subject.seed != Subject.of(clip(1), seed=1).seed


def test_another_style_is_asked_for_in_its_own_words():
    subject = Subject.of(clip(1), seed=0)
    noto = in_style(subject, style="noto", phrase="noto style", was="3d style")
    assert (noto.prompt, noto.style) == ("thing 1, noto style", "noto")
    with pytest.raises(InputError, match="does not say"):
        in_style(subject, style="noto", phrase="noto style", was="flat style")


def test_a_short_real_clip_is_played_again():
    frames = real_frames(clip(2), count=12)
    assert frames.shape == (12, 128, 128, 3)
    assert np.array_equal(frames[8:], frames[:4])


def test_psnr_is_in_decibels_of_full_scale():
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert psnr(mean_squared_error(black, grey)) == pytest.approx(-20 * np.log10(0.2))
    assert psnr(mean_squared_error(black, black)) == 100


def test_the_autoencoder_is_judged_on_held_out_concepts_in_the_bases_styles():
    stills = [still(n, s, split="test" if n < 4 else "train") for n in range(COUNT) for s in STYLES]

    def reconstruct(pictures: np.ndarray) -> np.ndarray:
        return np.clip(pictures.astype(int) - 8, 0, 255).astype(np.uint8)

    report = judge_autoencoder(reconstruct, stills, scorer=ColourScorer(), batch=5)
    assert report.psnr.total == 4 * 2
    assert report.psnr.value == pytest.approx(20 * np.log10(255 / 8), abs=0.5)
    assert report.psnr_pooled <= report.psnr.value + 1e-6
    assert set(report.psnr_by_style) == set(STYLES)
    assert report.scorer_before.top5.share == 1
    assert report.rows()[0].met
    assert judge_autoencoder(reconstruct, stills).scorer_after is None


def test_the_scorer_is_marked_on_real_clips_split_by_split():
    clips = [clip(n, split="test" if n == 2 else "train") for n in range(4)]
    marks = clip_ceilings(ColourScorer(), clips)
    assert (marks["train"].top5.count, marks["train"].top5.total) == (6, 6)
    assert marks["test"].style.total == 2


def test_reports_become_json():
    report = judge_motion(drawing(step=3), CLIPS[:2], scorer=ColourScorer(), num_frames=8)
    plain = as_json(report)
    assert plain["transformer"]["animations"][0]["subject"]["prompt"] == "thing 0, 3d style"
    assert plain["transformer"]["frozen"]["high"] > 0


@dataclass(frozen=True)
class Request:
    prompt: str = ""
    seed: int = 0
    num_frames: int = 8
    fps: str = "8"

    @property
    def rate(self) -> Fraction:
        return Fraction(self.fps)


class CountingAnimator:
    def __init__(self) -> None:
        self.drawn: list[Request] = []
        self.defaults: dict[str, object] = {}

    def resolved(self, request: Request) -> Request:
        return replace(request, **self.defaults)

    def animate(self, request: Request):
        self.drawn.append(request)
        frames = sliding(*asked(request.prompt), step=2, count=request.num_frames)
        return SimpleNamespace(video=SimpleNamespace(frames=frames))


def test_a_template_says_all_but_prompt_and_seed():
    animator = CountingAnimator()
    draw = drawn_by(animator, template=Request(num_frames=4))
    assert draw("thing 1, flat style", seed=7).shape == (4, 128, 128, 3)
    assert animator.drawn == [Request("thing 1, flat style", 7, num_frames=4)]
    with pytest.raises(InputError, match="fps=8"):
        drawn_by(animator, template=Request(fps="12"))


def test_what_was_drawn_before_is_not_drawn_again(tmp_path):
    animator = CountingAnimator()
    for _ in range(2):
        kept = KeptAnimations(tmp_path / "kept", fingerprint="a")
        draw = drawn_by(animator, template=Request(), kept=kept)
        frames = draw("thing 1, flat style", seed=7)
    assert len(animator.drawn) == 1
    assert np.array_equal(frames, sliding(1, "flat", step=2))
    other = KeptAnimations(tmp_path / "kept", fingerprint="b")
    drawn_by(animator, template=Request(), kept=other)("thing 1, flat style", seed=7)
    assert len(animator.drawn) == 2
    animator.defaults = {"num_frames": 4}  # of the model: its own drawings are others now
    assert (
        len(drawn_by(animator, template=Request(), kept=other)("thing 1, flat style", seed=7)) == 4
    )


def test_a_fingerprint_changes_with_any_file(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    files = [tmp_path / "a", tmp_path / "b"]
    before = fingerprint_of(files)
    assert before == fingerprint_of(files[::-1])
    (tmp_path / "b").write_bytes(b"3")
    assert fingerprint_of(files) != before
