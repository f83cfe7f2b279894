#!/usr/bin/env bash
# The built-in world, second edition: what the paper claims of the adapter, MotionLoRA and personalisation.
# Needs a world that recipes/emoji/rebuild.sh made. What was stopped goes on; what is done is not done again.
# usage: recipes/emoji/second-edition.sh [WORK]        (default build/emoji; STEPS=2 tries every line of it,
#        and CLIP=45 one of a world that has no 199 clips)
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
looked() { # looked NAME OPTION...: motion modules go on, from that footage
    local name=$1
    shift
    train 1500 motion --motion "$world/motion/emoji.safetensors" --degraded --clips 100 --variations 3 \
        --frames 8 --batch-size 1 --output "$world/motion/emoji-$name.safetensors" "$@"
}
once motion-adapted looked adapted --adapter "$world/adapter/emoji.safetensors"
once motion-unadapted looked unadapted

# Eight camera moves from 50 clips each; two of them at rank 2, one from 5 clips. Moves are not as far as the rule has
# them, as nothing off the middle was ever drawn, and are learned where noise is strong.
# Two batches in three, of zooms three in four, are learned at half the scale; as zooms then go less far than their clips, what
# they do at a scale above 1 is called 1, and so is a tilt down's, of which half a scale did too little. A roll wants all
# layers, the loss without appearance, and longer: both ways are learned at once, then each goes on alone, and guidance
# pulls towards it.
pattern() { # pattern STEPS MOVE:STRENGTH OPTION...
    local steps=$1 move=$2
    shift 2
    train "$steps" motion-lora --pattern "$move" --variations 2 --min-timestep 500 --learning-rate 3e-3 --warmup 20 "$@"
}
gained() { # gained NAME GAIN STEPS MOVE:STRENGTH OPTION...: learn it, and let the gain be its scale 1
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
alone() { # alone MOVE START: twice more from there, one way only; guidance is to pull towards it
    local name=$1 start=$work/learned/$2.safetensors
    once "motion-lora-$name-1" roll 1000 "$name" --scales 0.5 1 1 --learning-rate 2e-3 --start "$start" \
        --output "$work/learned/$name-1.safetensors"
    once "motion-lora-$name-2" roll 2400 "$name" --scales 0.5 1 1 --learning-rate 2e-3 --seed 1 \
        --start "$work/learned/$name-1.safetensors" --output "$work/learned/$name-2.safetensors"
    once "motion-lora-$name" "$animatediff" convert "$work/learned/$name-2.safetensors" \
        -o "$world/motion-lora/$name.safetensors" --motion-guidance 1
}
alone roll-clockwise rolls
alone roll-anticlockwise rolls-back
once motion-lora-pan-right-rank2 pattern 700 pan-right:0.5 --clips 50 --scales 0.5 1 --rank 2 --batch-size 1 \
    --output "$work/learned/pan-right-rank2.safetensors"
once motion-lora-pan-right-rank2-guided "$animatediff" convert "$work/learned/pan-right-rank2.safetensors" \
    -o "$world/motion-lora/pan-right-rank2.safetensors" --motion-guidance 1
once motion-lora-5clips pattern 500 zoom-in:0.6 --clips 5 --output "$world/motion-lora/zoom-in-5clips.safetensors"
# One clip, a heart that beats, in ever other colours and shapes: what all of these share, an adapter learns first, so that
# the MotionLoRA learns the beat alone.
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

# Three ways to a style that the base never saw, from 20 pictures of it.
once personal-lora train 400 personalise-lora --output "$world/lora/noto-few.safetensors"
once personal-dreambooth train 400 personalise-dreambooth --output "$world/emoji-noto-few"
once personal-inversion train 1000 personalise-inversion --word "<noto>" --like style \
    --caption "a picture in <noto> style"

# What came of it.
results=${RESULTS:-results}
evaluate() { "$animatediff" evaluate "$@" --work "$work"; }
once evaluate-adapter evaluate adapter --results "$results" --frames 8 --adapter "$world/adapter/emoji.safetensors" \
    --adapted "$world/motion/emoji-adapted.safetensors" \
    --unadapted "$world/motion/emoji-unadapted.safetensors"
once evaluate-motion-lora evaluate motion-lora --results "$results"
once evaluate-single-clip evaluate single-clip --results "$results"
once evaluate-personal evaluate transfer --results "$results/few" --count 30 --loras "$world/lora/noto-few.safetensors:1" \
    --finetuned "$world/emoji-noto-few" --embedding "$world/embedding/noto.safetensors"
