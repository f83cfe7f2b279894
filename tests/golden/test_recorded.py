"""The golden requests give the frames that were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.golden.golden_requests import golden_requests, write_files
from tests.golden.record import machine, recorded

HASHES = Path(__file__).with_name("hashes.json")
"""Written by ``python tests/golden/record.py --output tests/golden/hashes.json``."""


@pytest.mark.slow
def test_frames_are_those_that_were_recorded(tmp_path: Path) -> None:
    expected = json.loads(HASHES.read_text())
    if expected["machine"] != machine():
        pytest.skip(f"the bytes were recorded on {expected['machine']}, and this is {machine()}")
    found = recorded(golden_requests(write_files(tmp_path)))
    assert found["frames"] == expected["frames"]


def test_every_hash_belongs_to_a_request_and_no_two_requests_are_alike() -> None:
    expected = json.loads(HASHES.read_text())
    assert expected["frames"].keys() == expected["latents"].keys()
    assert len(expected["frames"]) >= 12
    assert len(set(expected["frames"].values())) == len(expected["frames"])
