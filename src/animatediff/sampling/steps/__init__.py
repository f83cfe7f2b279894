"""From noise to frames: noise, samplers, the denoising loop, decoding."""
