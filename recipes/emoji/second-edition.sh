#!/usr/bin/env bash
# Train and measure the domain adapter, the MotionLoRAs and the personalised models of the built-in world.
# Needs a world built by recipes/emoji/rebuild.sh. An interrupted step continues; a finished step is skipped.
# usage: recipes/emoji/second-edition.sh [WORK]
# WORK defaults to build/emoji. STEPS=2 tests every line; CLIP=45 suits a small world with fewer than 199 clips.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-build/emoji}
animatediff=${ANIMATEDIFF:-.venv/bin/animatediff}
world=$work/world
mkdir -p "$work/done"

once() { # once NAME COMMAND...: run a command unless it is already done
    local name=$1
    shift
    [ -e "$work/done/$name" ] && return
    "$@"
    touch "$work/done/$name"
}
train() { # train STEPS STAGE OPTION...: the environment's STEPS override STEPS
    local steps=${STEPS:-$1}
    shift
    "$animatediff" train "$@" --steps "$steps" --work "$work"
}

# The domain adapter on clips with a stock-footage look; then motion modules with and, for comparison, without it.
once adapter train 1500 domain-adapter --degraded --variations 16 --learning-rate 2e-3
looked() { # looked NAME OPTION...: continue training motion modules on that footage
    local name=$1
    shift
    train 1500 motion --motion "$world/motion/emoji.safetensors" --degraded --clips 100 --variations 3 \
        --frames 8 --batch-size 1 --output "$world/motion/emoji-$name.safetensors" "$@"
}
once motion-adapted looked adapted --adapter "$world/adapter/emoji.safetensors"
once motion-unadapted looked unadapted

# Eight camera moves from 50 clips each; two of them also at rank 2, one from 5 clips. The moves are smaller than the
# pattern's default, because the image model only draws things in the middle, and are trained at high noise.
# Two of three batches (zooms: three of four) are trained at scale 0.5. The zooms then move less than their clips, so a gain
# makes the effect of a larger scale the new scale 1. tilt-down gets a gain too, because its half scale was too weak. A roll
# needs all layers, the debiased loss and more steps: both directions are trained at once, then each continues alone,
# and motion guidance amplifies it.
pattern() { # pattern STEPS MOVE:STRENGTH OPTION...
    local steps=$1 move=$2
    shift 2
    train "$steps" motion-lora --pattern "$move" --variations 2 --min-timestep 500 --learning-rate 3e-3 --warmup 20 "$@"
}
gained() { # gained NAME GAIN STEPS MOVE:STRENGTH OPTION...: train, then make the effect of scale GAIN the new scale 1
    local name=$1 gain=$2
    shift 2
    once "motion-lora-$name" pattern "$@" --clips 50 --output "$work/learned/$name.safetensors"
    once "motion-lora-$name-gain" "$animatediff" convert "$work/learned/$name.safetensors" \
        -o "$world/motion-lora/$name.safetensors" --gain "$gain"
}
mkdir -p "$work/learned" "$world/motion-lora"
gained zoom-in 1.5 600 zoom-in:0.6 --scales 0.5 0.5 0.5 1
gained zoom-out 1.3 600 zoom-out:0.6 --scales 0.5 0.5 0.5 1
gained zoom-in-rank2 1.5 800 zoom-in:0.6 --rank 2
gained tilt-down 1.3 500 tilt-down:0.5 --scales 0.5 0.5 1
for name in pan-left:0.5 pan-right:0.5 tilt-up:0.5; do
    once "motion-lora-${name%:*}" pattern 500 "$name" --clips 50 --scales 0.5 0.5 1
done
roll() { # roll STEPS MOVE OPTION...
    pattern "$1" "$2:0.7" --clips 50 --layers all --rank 20 --optimizer muon --debias 2 --batch-size 1 "${@:3}"
}
once motion-lora-rolls roll 2200 roll-clockwise --scales -1 -1 -0.5 0.5 1 1 --warmup 50 --accumulate 2 \
    --output "$work/learned/rolls.safetensors"
once motion-lora-rolls-back "$animatediff" convert "$work/learned/rolls.safetensors" \
    -o "$work/learned/rolls-back.safetensors" --gain -1
alone() { # alone MOVE START GAIN: two more runs in one direction only, then set motion guidance and the gain
    local name=$1 start=$work/learned/$2.safetensors
    once "motion-lora-$name-1" roll 1000 "$name" --scales 0.5 1 1 --learning-rate 2e-3 --start "$start" \
        --output "$work/learned/$name-1.safetensors"
    once "motion-lora-$name-2" roll 2400 "$name" --scales 0.5 1 1 --learning-rate 2e-3 --seed 1 \
        --start "$work/learned/$name-1.safetensors" --output "$work/learned/$name-2.safetensors"
    once "motion-lora-$name" "$animatediff" convert "$work/learned/$name-2.safetensors" \
        -o "$world/motion-lora/$name.safetensors" --motion-guidance 1 --gain "$3"
}
alone roll-clockwise rolls 1.1
alone roll-anticlockwise rolls-back 1
once motion-lora-pan-right-rank2 pattern 700 pan-right:0.5 --clips 50 --scales 0.5 1 --rank 2 --batch-size 1 \
    --output "$work/learned/pan-right-rank2.safetensors"
once motion-lora-pan-right-rank2-guided "$animatediff" convert "$work/learned/pan-right-rank2.safetensors" \
    -o "$world/motion-lora/pan-right-rank2.safetensors" --motion-guidance 1
once motion-lora-5clips pattern 500 zoom-in:0.6 --clips 5 --output "$world/motion-lora/zoom-in-5clips.safetensors"
# One clip, a heart that beats, in varied colours and shapes. An adapter first learns what these copies share, so that the
# MotionLoRA learns only the beat.
heart() { # heart STEPS STAGE OPTION...
    train "$1" "$2" --first-clip "${CLIP:-198}" --clips 1 --vary-appearance --caption "red heart, 3d style" --warmup 20 "${@:3}"
}
beat() { # beat STEPS NAME OPTION...
    heart "$1" motion-lora --variations 96 --adapter "$world/adapter/heart.safetensors" --rank 8 --min-timestep 500 \
        --batch-size 1 --output "$work/learned/$2.safetensors" "${@:3}"
}
once heart-adapter heart 250 domain-adapter --variations 256 --batch-size 8 --learning-rate 2e-3 \
    --output "$world/adapter/heart.safetensors"
once heartbeat-1 beat 800 heartbeat-1 --debias 1 --learning-rate 3e-3
once heartbeat-2 beat 700 heartbeat-2 --debias 2 --learning-rate 2e-3 --optimizer muon --seed 2 \
    --start "$work/learned/heartbeat-1.safetensors"
once heartbeat "$animatediff" convert "$work/learned/heartbeat-2.safetensors" \
    -o "$world/motion-lora/heartbeat.safetensors" --motion-guidance 1

# Three ways to personalise: a style that the base was not trained on, from 20 pictures.
once personal-lora train 400 personalise-lora --output "$world/lora/noto-few.safetensors"
once personal-dreambooth train 400 personalise-dreambooth --output "$world/emoji-noto-few"
once personal-inversion train 1000 personalise-inversion --word "<noto>" --like style \
    --caption "a picture in <noto> style"

# Pack again, with what was trained here: the questions below measure the packaged files unless they name others.
once pack-second-edition "$animatediff" pack --work "$work"

# Measure everything.
results=${RESULTS:-results}
evaluate() { "$animatediff" evaluate "$@" --work "$work"; }
once evaluate-adapter evaluate adapter --results "$results" --frames 8 --adapter "$world/adapter/emoji.safetensors" \
    --adapted "$world/motion/emoji-adapted.safetensors" \
    --unadapted "$world/motion/emoji-unadapted.safetensors"
once evaluate-motion-lora evaluate motion-lora --results "$results"
once evaluate-single-clip evaluate single-clip --results "$results"
once evaluate-personal evaluate transfer --results "$results/few" --count 30 --loras "$world/lora/noto-few.safetensors:1" \
    --finetuned "$world/emoji-noto-few" --embedding "$world/embedding/noto.safetensors"
