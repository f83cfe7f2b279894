#!/usr/bin/env bash
# Everything that an hour with one NVIDIA GPU is for, in at most 20 minutes: tests marked gpu, a denoising step paired with
# diffusers' and with its compiled form, the gain of each fast path, peak memory (also with --memory low and --quantise),
# and a stretch of motion training of the built-in world.
# usage: recipes/gpu.sh [--dry-run] [WORK [RESULTS]]
# WORK defaults to build/gpu and RESULTS to benchmarks/results. Each step has a time limit. A finished step is skipped by a
# second run; a failed one is named, the others run all the same, and the exit code is then 1.
# Without a GPU that torch can use, it says so and exits with 3. --dry-run runs the steps on the CPU in their smallest form,
# without those that need a GPU, to test the lines; its numbers mean nothing, so give it folders of its own.
# PYTHON and ANIMATEDIFF name the programs; without them, ./.venv is set up first, as ./check does.
set -euo pipefail
cd "$(dirname "$0")/.."
dry=
if [ "${1:-}" = --dry-run ]; then
    dry=1
    shift
fi
work=${1:-build/gpu}
results=${2:-benchmarks/results}
if [ -z "${PYTHON:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -c 'import animatediff, pytest' 2>/dev/null ||
        timeout 200 .venv/bin/pip install -q -c constraints.txt -e '.[dev]'
    PYTHON=.venv/bin/python
fi
read -r -a python <<<"$PYTHON"
read -r -a animatediff <<<"${ANIMATEDIFF:-$PYTHON -m animatediff}"
if [ -z "$dry" ] && ! "${python[@]}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "This machine has no GPU that torch can use, so nothing was measured; run recipes/gpu.sh on one with CUDA." >&2
    exit 3
fi
done=$work/done${dry:+-dry-run}
logs=$results/gpu-logs
mkdir -p "$done" "$logs"
day=$(date -u +%F)
failed=()

once() { # once NAME SECONDS COMMAND...: run a command within its limit, unless it is already done
    local name=$1 limit=$2 log=$logs/$1_$day.txt
    shift 2
    [ -e "$done/$name" ] && return
    echo "== $name"
    if timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1; then
        touch "$done/$name"
    else
        echo "$name failed with $? (124: not within $limit s); see $log" >&2
        failed+=("$name")
    fi
}

if [ -n "$dry" ]; then
    device=cpu
    size=(--width 0.2 --size 64 --frames 2 --rounds 1 --warmup 0 --threads 1)
    training=(--steps 1 --frames 2 --batch-size 1 --clips 2)
    tests=(tests/model/test_compiled.py)
    marker='not slow'
    compiled=()
    drawn=(--width 0.2 --size 64 --frames 2 --precision fp32 --ways full low)
else
    device=cuda
    size=(--rounds 5 --warmup 3)
    training=(--steps 300 --precision bf16)
    tests=(tests/gpu tests/parity/test_low_memory.py)
    marker=gpu
    compiled=(--compiled)
    drawn=(--size 512 --frames 16 --limit-gb 6)
fi
measure=("${python[@]}" benchmarks/measure.py --device "$device" --out "$results" --guidance)

once device 30 "${python[@]}" -c 'import torch; print(torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())'
once tests 150 "${python[@]}" -m pytest -q -p no:cacheprovider -m "$marker" "${tests[@]}"
# Paired with diffusers and, on a GPU, with its compiled form; the report has peak memory and shares of the ceilings.
once step-bf16 240 "${measure[@]}" --precision bf16 "${size[@]}" --gains ${compiled[@]+"${compiled[@]}"}
once step-fp32 90 "${measure[@]}" --precision fp32 "${size[@]}"
[ -n "$dry" ] || once step-512 90 "${measure[@]}" --precision bf16 --size 512 --frames 16 --rounds 3
# Fails if 512 px and 16 frames need more than 6 GB with --memory low.
once memory 150 "${python[@]}" benchmarks/gpu_memory.py --device "$device" --out "$results" "${drawn[@]}"
[ -e "$work/clips" ] || once dataset 90 "${animatediff[@]}" dataset emoji --work "$work"
once training 160 "${animatediff[@]}" train motion --model emoji --motion emoji --device "$device" "${training[@]}" \
    --work "$work" --output "$work/motion.safetensors" --progress json

if [ "${#failed[@]}" -gt 0 ]; then
    echo "not done: ${failed[*]}; run the same command again to try these steps once more." >&2
    exit 1
fi
echo "Results are in $results."
