#!/usr/bin/env bash
# The built-in world, second edition: what the paper claims of the adapter, MotionLoRA and personalisation.
# Needs a world that recipes/emoji/rebuild.sh made. What was stopped goes on; what is done is not done again.
# usage: recipes/emoji/second-edition.sh [WORK]        (default build/emoji)
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-build/emoji}
animatediff=${ANIMATEDIFF:-.venv/bin/animatediff}
mkdir -p "$work/done" "$work/world/motion"

once() { # once NAME COMMAND...: run a command unless it has been
    local name=$1
    shift
    [ -e "$work/done/$name" ] && return
    "$@"
    touch "$work/done/$name"
}
train() { "$animatediff" train "$@" --work "$work"; }

# Clips that look like stock footage; motion learned from them with the adapter, and, to compare, without.
once adapter train domain-adapter --degraded --variations 16
once motion-adapted train motion --degraded --variations 4 \
    --adapter "$work/world/adapter/emoji.safetensors" --output "$work/world/motion/emoji-adapted.safetensors"
once motion-unadapted train motion --degraded --variations 4 \
    --output "$work/world/motion/emoji-unadapted.safetensors"

# Eight camera moves from 50 clips each, and one from a single clip.
for pattern in zoom-in zoom-out pan-left pan-right tilt-up tilt-down roll-clockwise roll-anticlockwise; do
    once "motion-lora-$pattern" train motion-lora --pattern "$pattern" --clips 50 --variations 8
done
once motion-lora-single train motion-lora --clips 1 --variations 8 --debias 1 \
    --output "$work/world/motion-lora/single.safetensors"

# Three ways to a style that the base never saw.
once personal-lora train personalise-lora
once personal-dreambooth train personalise-dreambooth --output "$work/world/emoji-personal"
once personal-inversion train personalise-inversion --word "<noto>" --like style \
    --caption "a picture in <noto> style"
