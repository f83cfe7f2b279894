from pathlib import Path

import pytest

from animatediff.errors import FileError, InputError
from animatediff.evaluation.table1.plan import (
    Driving,
    Personal,
    Plan,
    Settings,
    read_plan,
    seed_of,
)

RECIPE = Path(__file__).parents[3] / "recipes" / "evaluate" / "table1.toml"


def plan(prompts: int, clips: int) -> Plan:
    words = tuple(f"thing {number}" for number in range(prompts))
    models = (Personal("a", words), Personal("b", words))
    return Plan(models, tuple(Driving(f"{number}.mp4", "x") for number in range(clips)))


def test_prompts_are_grouped_by_driving_clip_alike_in_every_model():
    items = list(plan(30, 10).items())
    assert [item.clip for item in items[:7]] == [0, 0, 0, 1, 1, 1, 2]
    assert {items[i].clip for i in range(30)} == set(range(10))
    for first, second in zip(items[:30], items[30:], strict=True):
        assert (first.seed, first.clip, first.prompt) == (second.seed, second.clip, second.prompt)
    assert len({item.seed for item in items[:30]}) == 30
    assert seed_of(0, 3) != seed_of(1, 3)


def test_more_clips_than_prompts_is_no_error():
    assert [item.clip for item in plan(2, 5).items()][:2] == [0, 2]


def test_a_shorter_plan_keeps_the_clip_of_each_prompt():
    whole = plan(7, 3)
    kept = {(item.model, item.index): item for item in whole.items()}
    for prompts in range(1, 7):
        short = whole.shortened(prompts=prompts)
        assert all(kept[item.model, item.index] == item for item in short.items())
        assert len(list(short.items())) == 2 * prompts
        assert short.clips == whole.clips[: len(short.clips)]
        assert {item.clip for item in short.items()} == set(range(len(short.clips)))


def test_a_plan_may_name_the_clip_of_each_prompt():
    words = ("x", "y", "z")
    clips = (Driving(str(RECIPE), "x"), Driving(str(RECIPE), "y"))
    chosen = Plan((Personal("a", words, driving=(1, 0, 1)),), clips).validated()
    assert [item.clip for item in chosen.items()] == [1, 0, 1]
    with pytest.raises(InputError, match="has 3 prompts but driving clips for 2"):
        Plan((Personal("a", words, driving=(1, 0)),), clips).validated()
    with pytest.raises(InputError, match=r"takes the driving clip 2, but .* from 0 to 1"):
        Plan((Personal("a", words, driving=(1, 0, 2)),), clips).validated()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Settings(fps=0), "fps = 0 is out of range"),
        (Settings(steps=-1), "steps = -1 is out of range"),
        (Settings(tune_train_steps=0), "tune_train_steps = 0 is out of range; choose 1 or more"),
        (Settings(tune_steps=1001), "tune_steps = 1001 is out of range"),
        (Settings(zero_flow=(float("nan"), 0.0)), "zero_flow = nan is not a finite number"),
    ],
)
def test_numbers_that_would_stop_it_in_the_middle_are_refused_first(settings: Settings, says: str):
    clips = (Driving(str(RECIPE), "x"),)
    with pytest.raises(InputError, match=says):
        Plan((Personal("a", ("x",)),), clips, settings).validated()


def test_the_recipe_is_a_plan_whose_clips_lie_beside_it():
    read = read_plan(RECIPE)
    assert len(read.models) == 2
    assert read.clips[0].file == str(RECIPE.parent / "driving" / "jeep.mp4")
    with pytest.raises(FileError, match=r"driving clip .* does not exist"):
        read.validated()


def test_what_cannot_be_compared_is_named():
    same = Plan((Personal("a", ("x",)), Personal("a", ("x",))), (Driving("x", "x"),))
    with pytest.raises(InputError, match="the same name"):
        same.validated()
    twice = Plan((Personal("a", ("x", "x")),), (Driving("x", "x"),))
    with pytest.raises(InputError, match="same prompt twice"):
        twice.validated()
    with pytest.raises(InputError, match="at least one"):
        Plan((), ()).validated()
