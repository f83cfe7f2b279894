"""A wrapper that applies at high noise only, such as guidance in an interval (arXiv 2404.07724)."""

from __future__ import annotations

from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise


def unwrapped(predict_noise: PredictNoise) -> PredictNoise:
    """No wrapper: the prediction as it is."""
    return predict_noise


def while_noisy(noisy: Around, *, least: float, then: Around = unwrapped) -> Around:
    """One wrapper at timesteps from ``least`` on, another at those below."""

    def around(predict_noise: PredictNoise) -> PredictNoise:
        first, second = noisy(predict_noise), then(predict_noise)

        def predict(ask: Ask) -> Latents:
            return (first if float(ask.timestep) >= least else second)(ask)

        return predict

    return around
