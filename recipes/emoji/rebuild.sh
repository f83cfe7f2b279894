#!/usr/bin/env bash
# Rebuilds the built-in world from nothing: fetch and render its art, train every part, measure, pack.
# A step that was stopped goes on where it was; one that is done is not done again.
# usage: recipes/emoji/rebuild.sh [WORK]        (default build/emoji; by the log's step times some 14 hours with bf16)
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-build/emoji}
animatediff=${ANIMATEDIFF:-.venv/bin/animatediff}
mkdir -p "$work/done"

once() { # once NAME COMMAND...: run a command unless it has been
    local name=$1
    shift
    [ -e "$work/done/$name" ] && return
    "$@"
    touch "$work/done/$name"
}

once dataset "$animatediff" dataset emoji --work "$work"
for stage in text-encoder autoencoder decoder image image-longer motion motion-longer motion-convolution noto-lora \
    noto-full; do
    once "$stage" "$animatediff" train "$stage" --work "$work"
done
once pack "$animatediff" pack --work "$work"
once scorer "$animatediff" evaluate scorer --work "$work"
for question in autoencoder pictures motion transfer; do
    once "$question" "$animatediff" evaluate "$question" --work "$work"
done
