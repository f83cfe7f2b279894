"""The plan of a batch: files by request, nothing drawn twice, nothing half written."""

import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animatediff.apps.many.entries import Entry
from animatediff.apps.many.plan import MARK, plan_batch
from animatediff.apps.naming import hash_of
from animatediff.errors import InputError, OutputError
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video, read_metadata

NAME = "{prompt}-{seed}-{hash}"


def entry(prompt, **fields):
    request = AnimationRequest(prompt, **fields).validated()
    return Entry(request, "a.csv, line 2", name=fields.get("name", ""))


def planned(folder, *entries, formats=("webp",), template=NAME):
    return plan_batch(entries, folder=folder, formats=formats, template=template)


def video(value=0):
    return Video(np.full((2, 16, 16, 3), value, np.uint8), Fraction(8))


def test_a_published_item_is_done_and_another_request_is_not(tmp_path):
    plan = planned(tmp_path, entry("a fox"), entry("a fox", steps=3), formats=("webp", "gif"))
    first, second = plan.items
    plan.publish(first, video(), metadata={"mine": "x"})
    assert plan.pending() == [second]
    assert read_metadata(tmp_path / first.names[0])["mine"] == "x"
    (tmp_path / first.names[1]).unlink()
    assert plan.pending() == [first, second]
    before = (tmp_path / first.names[0]).stat().st_mtime_ns
    plan.publish(first, video(9), metadata={})
    assert (tmp_path / first.names[0]).stat().st_mtime_ns == before


def test_folders_of_frames_are_outputs_too(tmp_path):
    plan = planned(tmp_path, entry("a fox"), formats=("png16",), template="{prompt}")
    (item,) = plan.items
    assert plan.publish(item, video(), metadata={}) == [tmp_path / "a-fox"]
    assert plan.pending() == []
    plan.check()


def test_the_hash_is_of_what_is_said_and_not_of_the_order_of_fields():
    assert hash_of(AnimationRequest("a fox", steps=3)) != hash_of(AnimationRequest("a fox"))
    assert hash_of(AnimationRequest("a fox").validated()) == hash_of(AnimationRequest("a fox"))
    assert hash_of(AnimationRequest("a fox", seed=0)) == hash_of(AnimationRequest("a fox"))


def test_equal_requests_are_drawn_once_and_names_never_clash(tmp_path):
    plan = planned(tmp_path, entry("a fox"), entry("a fox"))
    assert (len(plan.items), plan.repeated) == (1, 1)
    with pytest.raises(InputError, match=r"would both be written to a-fox\.webp"):
        planned(tmp_path, entry("a fox"), entry("a fox", seed=1), template="{prompt}")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{propmt}", "did you mean {prompt}"),
        ("a/b", "not a file name"),
        ("{date}", "unknown field"),
    ],
)
def test_a_template_that_names_no_file_is_refused(tmp_path, template, words):
    with pytest.raises(InputError, match=words):
        planned(tmp_path, entry("a fox"), template=template)


def test_a_stranger_under_the_name_is_not_replaced(tmp_path):
    plan = planned(tmp_path, entry("a fox"), template="{prompt}")
    (tmp_path / "a-fox.webp").write_text("mine")
    with pytest.raises(OutputError, match=r"was not made from a\.csv, line 2"):
        plan.check()


def test_one_process_at_a_time(tmp_path):
    plan = planned(tmp_path, entry("a fox"))
    (tmp_path / ".animatediff-7-0.tmp").write_text("half")
    with plan.locked():
        assert not (tmp_path / ".animatediff-7-0.tmp").exists()
        with pytest.raises(OutputError, match="Another batch"), plan.locked():
            pass
    with plan.locked():
        pass


WORKER = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from animatediff.apps.many.entries import Entry
from animatediff.apps.many.plan import plan_batch
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

folder = Path(sys.argv[1])
entries = [Entry(AnimationRequest("a fox", seed=n).validated(), f"line {n}") for n in range(40)]
plan = plan_batch(entries, folder=folder, formats=("mp4", "webp"), template="{prompt}-{seed}-{hash}")
with plan.locked():
    for item in plan.pending():
        noise = np.random.default_rng(item.request.seed).integers(0, 255, (4, 64, 64, 3), np.uint8)
        plan.publish(item, Video(noise, Fraction(8)), metadata={})
        with (folder / "drawn.log").open("a") as log:
            log.write(f"{item.request.seed}\\n")
"""


def test_killed_at_any_moment_every_output_is_whole_and_none_twice(tmp_path):
    generator = np.random.default_rng(0)
    for kill in (True, True, True, False):
        before = len(list(tmp_path.glob("*.mp4")))
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)])
        if kill:
            while process.poll() is None and len(list(tmp_path.glob("*.mp4"))) < before + 3:
                time.sleep(0.002)
            time.sleep(float(generator.uniform(0, 0.03)))
            process.kill()
        process.wait()
    assert process.returncode == 0
    assert_whole(tmp_path, 40, suffixes=("mp4", "webp"))
    drawn = Path(tmp_path / "drawn.log").read_text().split()
    assert len(drawn) == len(set(drawn))


def assert_whole(folder, count, *, suffixes):
    """One readable file of each format for each request, of that request, and nothing else."""
    for suffix in suffixes:
        files = sorted(folder.glob(f"*.{suffix}"))
        assert len(files) == count
        marks = {read_metadata(file)[MARK] for file in files}
        assert len(marks) == count
        for file in files:
            assert Video.load(file).num_frames >= 1
    assert not list(folder.glob(".*.tmp"))
