#!/usr/bin/env bash
# The whole paper on the built-in world, from the package alone: Sec. 5.1, Table 1, Fig. 6, Sec. 5.3, Fig. 7, Sec. 5.4.
# Unattended. An interrupted step continues where it stopped; a finished step is skipped. In a new RESULTS folder,
# everything is measured again, with what WORK has trained and drawn.
# usage: recipes/reproduce.sh [--quick] [WORK [RESULTS [PAGES]]]
# WORK defaults to build/emoji, RESULTS to results and PAGES to docs/paper. --quick runs every line with two prompts and two
# training steps, to test the lines; its numbers mean nothing, so give it folders of its own.
# TUNE sets Tune-A-Video's training steps. Its authors take 500; the default of 150 keeps a run on two cores to a night.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
if [ "${1:-}" = --quick ]; then
    quick=1
    shift
fi
work=${1:-build/emoji}
results=${2:-results}
pages=${3:-docs/paper}
read -r -a animatediff <<<"${ANIMATEDIFF:-.venv/bin/animatediff}"
trained_marks=$work/done-reproduce${quick:+-quick}
measured_marks=$results/done-reproduce${quick:+-quick}
mkdir -p "$trained_marks" "$measured_marks"

# What is trained is marked in WORK and what is measured in RESULTS, so that a new folder of results is measured again.
once() { # once NAME COMMAND...: run a command unless it is already done
    local name=$1 marks=$trained_marks
    case $name in transfer | table1 | ablation-*) marks=$measured_marks ;; esac
    shift
    [ -e "$marks/$name" ] && return
    echo "== $name"
    "$@"
    touch "$marks/$name"
}
run() {
    "${animatediff[@]}" "$@"
}
if [ -n "$quick" ]; then
    frames=4
    measure=(--frames 4 --steps 2 --count 2 --work "$work" --progress none)
    table=(--prompts 2 --driving 1 --frames 4 --references 2 --steps 2 --zero-steps 6 --tune-train-steps 2 --tune-steps 2)
    ranks=(2 8)
    clips=(5 50)
    footage=(--clips 4 --variations 1)
    stock=(--clips 4 --variations 1)
    all=(--clips 4 --variations 1)
    few=(--clips 4)
    move=pan-right:0.5
else
    frames=16
    measure=(--work "$work" --progress none)
    table=(--prompts 30 --driving 10 --tune-train-steps "${TUNE:-150}")
    ranks=(2 8 32 128)
    clips=(1 5 50 500)
    footage=(--variations 16)
    stock=(--clips 100 --variations 3)
    all=(--clips 600 --variations 3)
    few=()
    move=zoom-in:0.6
fi
steps() { # steps N: N, or 2 with --quick
    if [ -n "$quick" ]; then echo 2; else echo "$1"; fi
}
train() { # train STEPS STAGE OPTION...
    local count
    count=$(steps "$1")
    shift
    run train "$@" --steps "$count" --model emoji --work "$work"
}
measured() { # measured COMMAND OPTION...: measure with the packaged image model
    run "$@" "${measure[@]}" --results "$results"
}

[ -e "$work/clips" ] || once dataset run dataset emoji --work "$work"

# Sec. 5.1: the packaged motion module animates the packaged personalised models.
once transfer measured evaluate transfer

# Fig. 6: the domain adapter learns the look of degraded footage; motion modules with and, to compare, without it.
trained=$work/reproduce
mkdir -p "$trained"
once adapter train 1500 domain-adapter --degraded --rank 16 "${footage[@]}" --learning-rate 2e-3 \
    --output "$trained/adapter.safetensors"
looked() { # looked NAME OPTION...: continue training motion modules on that footage
    local name=$1
    shift
    train 1500 motion --motion emoji --degraded "${stock[@]}" --frames "$((frames / 2))" --batch-size 1 \
        --output "$trained/$name.safetensors" "$@"
}
once adapted looked adapted --adapter "$trained/adapter.safetensors"
once unadapted looked unadapted
once ablation-adapter measured ablation adapter --adapter "$trained/adapter.safetensors" \
    --adapted "$trained/adapted.safetensors" --unadapted "$trained/unadapted.safetensors"

# Sec. 5.3: the Transformer and a convolution of equal size, both from nothing, on the same clips, noise and timesteps.
once transformer train 2200 motion --family emoji "${all[@]}" --frames "$frames" --batch-size 1 \
    --output "$trained/transformer.safetensors"
once convolution train 2200 motion-convolution --family emoji "${all[@]}" --frames "$frames" --batch-size 1 \
    --output "$trained/convolution.safetensors"
once ablation-module measured ablation module --motion "$trained/transformer.safetensors" \
    --rival "$trained/convolution.safetensors"

# Fig. 7 and Sec. 4.3: MotionLoRAs of several ranks, from several numbers of clips, and two at once.
once ablation-rank measured ablation motion-lora-rank --ranks "${ranks[@]}" --pattern "$move" --train-steps "$(steps 600)"
once ablation-clips measured ablation motion-lora-clips --clips "${clips[@]}" --pattern "$move" --train-steps "$(steps 600)"
once ablation-composition measured ablation composition

# Sec. 5.4: a control network of edges, trained on single pictures; the motion module stays as it is.
once control train 1500 control --hint canny ${few[@]+"${few[@]}"} --output "$trained/canny.safetensors"
once ablation-control measured ablation control --control "$trained/canny.safetensors" --hint canny

# Table 1, with a second held-out style beside the packaged ones.
once high-contrast train 400 personalise-lora --rank 16 --data "$work/stills/high-contrast" --layout webdataset \
    ${few[@]+"${few[@]}"} --output "$trained/high-contrast.safetensors"
once table1 run evaluate table1 --work "$work" --results "$results" --progress none "${table[@]}" \
    --more "$trained/high-contrast.safetensors"

# The pages: each claim, our number, its interval, agrees or not. Written again at every run.
run paper --results "$results" --output "$pages"
