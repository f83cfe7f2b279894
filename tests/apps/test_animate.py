"""Options in a user's words become requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from animatediff.apps.cli import main
from animatediff.apps.commands.animate import (
    AnimateOptions,
    parse_seeds,
    parse_size,
    read_config,
    requests_of,
    save_config,
)
from animatediff.apps.destination import labels_of
from animatediff.apps.options.declared import all_options
from animatediff.apps.options.parsing import parse
from animatediff.errors import InputError
from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest


def options(*words: str) -> AnimateOptions:
    return parse(AnimateOptions, words, command="animate", summary="Animate.")


def request(*words: str) -> AnimationRequest:
    (made,) = requests_of(options(*words))
    return made


def test_what_is_left_out_is_left_to_the_request() -> None:
    assert options("a fox").request.values == {"prompt": "a fox"}
    assert request("a fox") == AnimationRequest("a fox").validated()


def test_every_option_reaches_the_request() -> None:
    line = (
        "--frames 8 --fps 24000/1001 --size 64x32 --steps 3 --guidance 1 --negative cat --model m "
        "--motion none --lora noto:0.5 --lora b --scheduler lcm --precision fp32 --closed-loop "
        "--vae v --embedding e --clip-skip 2 --emphasis comfy --adapter a:0.5 --motion-lora p:0.2 "
        "--family v2 --numerics diffusers --free-init 2 --hold 0.5 --interpolation slerp --seed 7 "
        "--keyframe 0:x --keyframe 4:y"
    )
    assert (
        request("a fox", *line.split())
        == AnimationRequest(
            prompt="a fox",
            negative_prompt="cat",
            prompts={"0": "x", "4": "y"},
            interpolation="slerp",
            hold=0.5,
            closed_loop=True,
            model="m",
            motion="none",
            loras=("noto:0.5", "b"),
            vae="v",
            embeddings=("e",),
            clip_skip=2,
            emphasis="comfy",
            adapter="a:0.5",
            motion_loras=("p:0.2",),
            family="v2",
            numerics="diffusers",
            num_frames=8,
            fps="24000/1001",
            width=64,
            height=32,
            steps=3,
            guidance=1.0,
            scheduler="lcm",
            free_init=2,
            seed=7,
            precision="fp32",
        ).validated()
    )


def test_every_field_has_an_option_and_no_two_options_share_a_name() -> None:
    assert {row.field for row in declared(AnimationRequest)} == {
        *AnimationRequest.__dataclass_fields__
    }
    rows = [row for row in all_options(AnimateOptions) if not row.option.by_hand]
    names = [name for row in rows for name in (row.flag, *row.option.aliases)]
    foreign = [f"--{name}" for row in rows for name in row.option.foreign]
    assert len({*names, *foreign}) == len(names) + len(foreign)
    assert sum(row.option.common for row in rows) == 10


def test_help_shows_the_most_used_options_first_and_the_rest_in_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["animate", "--help"]) == 0
    printed = capsys.readouterr().out
    titles = [line[:-1] for line in printed.splitlines() if line.endswith(":") and line[0] != " "]
    groups = ["Prompt", "Model", "Motion", "Sampling", "Output", "Machine"]
    assert titles[0] == "Most used"
    assert [title for title in titles if title in groups] == groups
    most_used = printed.split("\n\n")[2]
    assert all(f"{flag} " in most_used for flag in ("--output", "--model", "--seed", "--steps"))
    for row in all_options(AnimateOptions):
        if not row.option.by_hand:
            names = ", ".join([*row.option.aliases, row.flag])
            assert len(re.findall(rf"^  {names}(?:,| |$)", printed, flags=re.MULTILINE)) == 1, names


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--cfg", "use --guidance X"),
        ("--cfg-scale", "use --guidance X"),
        ("--cfg_scale", "use --guidance X"),
        ("--guidance_scale", "use --guidance X"),
        ("--ckpt", "use --model NAME"),
        ("--n_prompt", "use --negative TEXT"),
        ("--W", "use --width N"),
        ("--H", "use --height N"),
        ("--L", "use --frames N"),
        ("--num_inference_steps", "use --steps N"),
        ("--motion_module", "use --motion NAME"),
        ("--medvram", "--memory low of animate"),
        ("--controlnet", "use --control FILE:SCALE"),
        ("--loops", "--loop makes the loop seamless"),
        ("--image-path", "use --image PICTURE"),
        ("--denoising-strength", "use --strength X"),
        ("--frmaes", "did you mean --frames?"),
    ],
)
def test_options_of_other_programs_are_answered_with_ours(
    flag: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["animate", "a fox", flag, "3"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"animatediff: animate has no option {flag}; ")
    assert meant in printed


def test_a_saved_configuration_is_read_back_as_an_equal_request(tmp_path: Path) -> None:
    for number, words in enumerate(
        [
            ("a fox",),
            ('a "fox"\n狐狸', "--fps", "24000/1001", "--lora", "x:0.5", "--seed", "3"),
            ("a", "--keyframe", "0:b", "--keyframe", "50%:c", "--closed-loop", "--steps", "3"),
        ]
    ):
        made = request(*words)
        path = tmp_path / f"{number}.toml"
        save_config([made], path)
        assert read_config(path).validated() == made
        assert request("--config", str(path)) == made


def test_the_command_line_overrides_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "fox.toml"
    path.write_text('prompt = "a fox"\nsteps = 9\nclosed_loop = true\nseed = 4\nloras = ["x:1"]\n')
    read = request("--config", str(path), "--keyframe", "0:b")
    assert (read.prompt, read.steps, read.closed_loop, read.seed) == ("a fox", 9, True, 4)
    words = ("an owl", "--config", str(path), "--steps", "3", "--no-closed-loop", "--lora", "y:1")
    mine = request(*words, "--seed", "5", "--size", "64x64")
    assert (mine.prompt, mine.steps, mine.closed_loop, mine.seed) == ("an owl", 3, False, 5)
    assert (mine.loras, mine.width) == (("y:1",), 64)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("setps = 3", "unknown key setps; did you mean steps?"),
        ("frames = 3", "unknown key frames; did you mean num_frames?"),
        ("steps = 3.5", "says steps = 3.5"),
        ('scheduler = "dimm"', "says scheduler = 'dimm'"),
        ("steps = 0", "steps = 0 is out of range; choose 1 to 999"),
        ("[[", "is not TOML"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.toml").write_text(text)
    assert main(["animate", "a fox", "--config", str(tmp_path / "x.toml")]) in (2, 3)
    assert sentence in capsys.readouterr().err


def test_several_seeds_are_not_one_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one --seed"):
        save_config(requests_of(options("a", "--seed", "1,2")), tmp_path / "x.toml")


@pytest.mark.parametrize("text", ["128", "128x", "x128", "128x128x3", "-8x8", "a x b", ""])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 128x128"):
        parse_size(text)


def test_a_size_is_said_only_once() -> None:
    with pytest.raises(InputError, match="not both"):
        request("a fox", "--size", "64x64", "--width", "64")


def test_keyframes_come_one_by_one_or_from_a_file_whose_manner_may_be_overruled(
    tmp_path: Path,
) -> None:
    one_by_one = request("a fox", "--keyframe", "0: sitting", "--keyframe", "1.5s:at 9:30")
    assert one_by_one.prompts == {"0": "sitting", "1.5s": "at 9:30"}
    path = tmp_path / "travel.json"
    path.write_text('{"prompt_map": {"0": "a", "8": "b"}, "prompt_fixed_ratio": 0.5}')
    read = request("--prompts", str(path))
    assert (read.prompt, read.prompts) == ("", {"0": "a", "8": "b"})
    assert (read.interpolation, read.hold, read.closed_loop) == ("slerp", 0.5, True)
    mine = request("--prompts", str(path), "--interpolation", "linear", "--hold", "0")
    assert (mine.interpolation, mine.hold) == ("linear", 0.0)
    assert request("a", "--keyframe", "0:b", "--closed-loop").closed_loop


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "There is no PROMPT"),
        (("a", "--keyframe", "8"), "has no text; write, for example, '8: a hare'"),
        (("a", "--keyframe", "8:b", "--keyframe", "8 :c"), "--keyframe 8 is given twice"),
        (("a", "--prompts", "x", "--keyframe", "8:b"), "but not both"),
    ],
)
def test_keyframes_that_cannot_be_are_refused(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        requests_of(options(*words))


def test_seeds_may_be_repeated_or_listed_and_minus_one_draws_one() -> None:
    assert parse_seeds([]) == [{}]
    assert parse_seeds(["1, 2", "3", "2"]) == [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    (drawn,) = parse_seeds(["-1"])
    assert 0 <= drawn["seed"] < 2**32


@pytest.mark.parametrize("word", ["x", "1.5", "", "1,,2", "9" * 101])
def test_a_seed_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="not a whole number"):
        parse_seeds([word])


def test_too_many_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="at most 64"):
        parse_seeds([",".join(map(str, range(65)))])


def test_every_seed_of_64_bits_is_taken(tmp_path: Path) -> None:
    most = 2**64 - 1
    made = request("a", "--seed", str(most))
    assert made.seed == most
    assert AnimationRequest.from_json(made.to_json()) == made
    save_config([made], tmp_path / "x.toml")
    assert request("--config", str(tmp_path / "x.toml")) == made
    with pytest.raises(InputError, match="out of range"):
        request("a", "--seed", str(most + 1))


def test_a_closed_loop_without_keyframes_is_refused() -> None:
    with pytest.raises(InputError, match="returns to the first keyframe, and there is none"):
        request("a fox", "--closed-loop")


def test_files_of_several_animations_are_told_apart_by_seed_or_else_by_number() -> None:
    assert labels_of([3, 5]) == ["3", "5"]
    assert labels_of([3, 3]) == ["1", "2"]
