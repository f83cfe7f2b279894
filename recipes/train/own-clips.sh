#!/usr/bin/env bash
# Train a MotionLoRA on a folder of your videos and draw an animation with it (docs/guides/training.md).
# usage: recipes/train/own-clips.sh MODEL MOTION CLIPS PROMPT
set -euo pipefail
model=$1 motion=$2 clips=$3 prompt=$4
animatediff=${ANIMATEDIFF:-animatediff}
"$animatediff" train motion-lora --work runs/own --model "$model" --motion "$motion" \
    --data "$clips" --output own.safetensors --validate "$prompt"
"$animatediff" animate "$prompt" --model "$model" --motion "$motion" \
    --motion-lora own.safetensors:1 --output own.mp4
