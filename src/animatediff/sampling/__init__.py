"""From a request to frames: text, noise, the denoising loop and what is wrapped around it."""
