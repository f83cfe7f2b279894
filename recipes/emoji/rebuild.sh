#!/usr/bin/env bash
# Rebuild the built-in world from nothing: download and render its art, train every part, pack it and measure it.
# An interrupted step continues where it stopped; a finished step is skipped.
# usage: recipes/emoji/rebuild.sh [WORK]
# WORK defaults to build/emoji. By the step times in docs/log.md it takes about 14 hours with bf16.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-build/emoji}
animatediff=${ANIMATEDIFF:-.venv/bin/animatediff}
python=${PYTHON:-$(dirname "$animatediff")/python}
mkdir -p "$work/done"

once() { # once NAME COMMAND...: run a command unless it is already done
    local name=$1
    shift
    [ -e "$work/done/$name" ] && return
    "$@"
    touch "$work/done/$name"
}

once dataset "$animatediff" dataset emoji --work "$work"
train() { # train STAGE OPTION...
    once "$1" "$animatediff" train "$@" --work "$work"
}
for stage in text-encoder autoencoder decoder image image-longer motion; do
    train "$stage"
done
# Real clips are in one style; stills that stand still keep the other styles as the image model draws them.
# A long run that ends at a small rate moves more, a short one keeps pictures better; their mean is best at both.
short=$work/world/motion/emoji-short.safetensors
train motion-longer --mix clips:0.55 stills:0.45 --learning-rate 4e-4 --schedule constant --ema-decay 0.998 --steps 600
once motion-short cp "$work/world/motion/emoji.safetensors" "$short"
once motion-long "$animatediff" train motion --optimizer muon --batch-size 2 --work "$work" --motion "$short" -o "$work/motion-long.safetensors" \
    --mix clips:0.6 stills:0.4 --learning-rate 4e-4 --schedule cosine --ema-decay 0.998 --steps 3600
once motion-mean "$python" recipes/emoji/mean_of_runs.py "$work/world/motion/emoji.safetensors" "$short" "$work/motion-long.safetensors"
rm -f "$short"
# Control networks: outlines and silhouettes in every frame, and a picture that frames begin with.
control=$work/world/control
networks=(--work "$work" --ema-decay 0.98 --optimizer muon --schedule constant --null-text 0.3 --batch-size 8)
once control-edges "$animatediff" train control --hint canny "${networks[@]}" --learning-rate 1.2e-3 --steps 1000
once control-shape "$animatediff" train control --hint shape "${networks[@]}" --learning-rate 1e-3 --steps 700 \
    --begin-from "$control/edges.safetensors"
# So few steps teach hints half of their weight: a gain makes the effect of scale 2 the new scale 1.
for name in edges shape; do
    once "control-$name-gain" "$animatediff" convert "$control/$name.safetensors" -o "$work/$name.safetensors" --gain 2
    once "control-$name-kept" cp "$work/$name.safetensors" "$control/$name.safetensors"
done
once control-pictures "$animatediff" train sparse-control --work "$work" --mix clips:0.55 stills:0.45 --batch-size 2 \
    --learning-rate 1e-3 --warmup 50 --ema-decay 0.995 --steps 2600
for stage in motion-convolution noto-lora noto-full upscaler; do
    train "$stage"
done
once scorer "$animatediff" evaluate scorer --work "$work"
once pack "$animatediff" pack --work "$work"
for question in autoencoder pictures motion transfer still-vs-motion actions; do
    once "evaluate-$question" "$animatediff" evaluate "$question" --work "$work"
done
