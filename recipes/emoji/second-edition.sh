#!/usr/bin/env bash
# The built-in world, second edition: what the paper claims of the adapter, MotionLoRA and personalisation.
# Needs a world that recipes/emoji/rebuild.sh made. What was stopped goes on; what is done is not done again.
# usage: recipes/emoji/second-edition.sh [WORK]        (default build/emoji; STEPS=2 tries every line of it)
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-build/emoji}
animatediff=${ANIMATEDIFF:-.venv/bin/animatediff}
world=$work/world
mkdir -p "$work/done"

once() { # once NAME COMMAND...: run a command unless it has been
    local name=$1
    shift
    [ -e "$work/done/$name" ] && return
    "$@"
    touch "$work/done/$name"
}
train() { # train STEPS STAGE OPTION...: STEPS of the environment come first
    local steps=${STEPS:-$1}
    shift
    "$animatediff" train "$@" --steps "$steps" --work "$work"
}

# Clips that look like stock footage: what is only their look, then their motion with it and, to compare, without.
once adapter train 1500 domain-adapter --degraded --variations 16 --learning-rate 2e-3
once motion-adapted train 700 motion --motion "$world/motion/emoji.safetensors" --degraded --variations 4 \
    --adapter "$world/adapter/emoji.safetensors" --output "$world/motion/emoji-adapted.safetensors"
once motion-unadapted train 700 motion --motion "$world/motion/emoji.safetensors" --degraded --variations 4 \
    --output "$world/motion/emoji-unadapted.safetensors"

# Eight camera moves from 50 clips each; one of them at rank 2, and from 5 clips; and the motion of a single clip. Moves go
# not as far as the rule has it, as nothing off the middle was ever drawn, and are learned where noise is strong.
pattern() {
    local move=$1
    shift
    train 500 motion-lora --pattern "$move:0.6" --variations 2 --min-timestep 500 --learning-rate 3e-3 --warmup 20 "$@"
}
for name in zoom-in zoom-out pan-left pan-right tilt-up tilt-down roll-clockwise roll-anticlockwise; do
    once "motion-lora-$name" pattern "$name" --clips 50
done
once motion-lora-rank2 pattern zoom-in --clips 50 --rank 2 --output "$world/motion-lora/zoom-in-rank2.safetensors"
once motion-lora-5clips pattern zoom-in --clips 5 --output "$world/motion-lora/zoom-in-5clips.safetensors"
once motion-lora-single train 150 motion-lora --clips 1 --variations 8 --debias 1 \
    --output "$world/motion-lora/single.safetensors"

# Three ways to a style that the base never saw, from 20 pictures of it.
once personal-lora train 400 personalise-lora --output "$world/lora/noto-few.safetensors"
once personal-dreambooth train 400 personalise-dreambooth --output "$world/emoji-noto-few"
once personal-inversion train 1000 personalise-inversion --word "<noto>" --like style \
    --caption "a picture in <noto> style"

# What came of it.
results=${RESULTS:-results}
evaluate() { "$animatediff" evaluate "$@" --work "$work"; }
once evaluate-adapter evaluate adapter --results "$results" --adapter "$world/adapter/emoji.safetensors" \
    --adapted "$world/motion/emoji-adapted.safetensors" \
    --unadapted "$world/motion/emoji-unadapted.safetensors"
once evaluate-motion-lora evaluate motion-lora --results "$results"
once evaluate-personal evaluate transfer --results "$results/few" --count 30 --loras "$world/lora/noto-few.safetensors:1" \
    --finetuned "$world/emoji-noto-few" --embedding "$world/embedding/noto.safetensors"
