"""The tiny world of the sampling tests."""

from __future__ import annotations

from tests.sampling.conftest import animator, request_of

__all__ = ["animator", "request_of"]
