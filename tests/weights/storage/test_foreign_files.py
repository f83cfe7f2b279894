"""Files without weights are named by their first bytes, and weights are never among them."""

from __future__ import annotations

import pickle
import struct

import pytest
from tests.cases import files_that_are_no_weights

from animatediff.weights.storage.foreign_files import START, foreign_file, starts_as_pickle


@pytest.mark.parametrize("name", files_that_are_no_weights.FILES)
def test_what_people_give_is_named(name: str) -> None:
    content, title = files_that_are_no_weights.FILES[name]
    found = foreign_file(content[:START])
    assert found is not None
    assert title in found.title


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_every_protocol_is_one(protocol: int) -> None:
    for value in ({"a": 1}, [1, "two"], {str(n): [n] * 9 for n in range(90)}, {}):
        content = pickle.dumps(value, protocol=protocol)
        assert starts_as_pickle(content[:START]), (protocol, value)
        assert foreign_file(content[:START]) is None, (protocol, value)


def test_no_length_of_a_header_is_taken_for_another_file() -> None:
    """The length is the first eight bytes, which may be those of a JPEG or of an archive."""
    for start in (
        b"BM",
        b"\xff\xd8\xff",
        b"\x1f\x8b\x08",
        b"BZh",
        b"ID3",
        b"{  ",
        b"(  ",
        b"\x80\x02",
    ):
        length = int.from_bytes(start, "little")
        content = (
            struct.pack("<Q", length) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        )
        assert foreign_file(content) is None, start
        assert not starts_as_pickle(content), start
