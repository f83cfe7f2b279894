"""Tone-map HDR video to the range of a standard screen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt16

from animatediff.data.decoding.media import Picture

_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""Matrix from the primaries of BT.2020 to those of BT.709 (ITU-R BT.2087)."""
_WHITE, _PEAK = 203.0, 1000.0
"""Nits of a white page in HDR (ITU-R BT.2408), and of what becomes the brightest white."""


def for_a_plain_screen(coded: UInt16[np.ndarray, "height width 3"], transfer: str) -> Picture:
    """Tone-map HDR to a standard screen: highlights are compressed, the rest is unchanged."""
    signal = coded.astype(np.float32) / 65535
    nits = _nits_of_pq(signal) if transfer == "PQ" else _nits_of_hlg(signal)
    light = np.maximum(nits @ _TO_709.T, 0) / _WHITE
    brightest = light.max(axis=-1, keepdims=True)
    # Extended Reinhard on the largest channel preserves hues; the peak becomes 1.
    rolled = brightest * (1 + brightest / (_PEAK / _WHITE) ** 2) / (1 + brightest)
    light = np.clip(light * rolled / np.maximum(brightest, 1e-6), 0, 1)
    screen = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (screen * 255 + 0.5).astype(np.uint8)


def _nits_of_pq(signal: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """SMPTE ST 2084."""
    root = signal ** (1 / 78.84375)
    return 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
        1 / 0.1593017578125
    )


def _nits_of_hlg(signal: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """ITU-R BT.2100, for a screen of 1000 nits."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    brightness = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return 1000 * scene * np.maximum(brightness, 1e-6)[..., None] ** 0.2
