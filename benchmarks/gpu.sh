#!/usr/bin/env bash
# What wants a GPU, in one command: benchmarks/gpu.sh [DATA] [--only right,share,scoring,sweep]; see gpu.py.
# PROGRAM=noise_six.py, say, runs another benchmark than gpu.py in the same way.
#
# Takes the first Python that has torch for the device asked for: $PYTHON, .venv, .venv-gpu, python3. Packages that it lacks are
# installed once into .gpu-site, from the wheels in $WHEELS if that is set (no network then), else from the index. Where there is
# a GPU but no such Python, .venv-gpu is made from the index. Without a GPU it says so and ends with 4.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=cuda
asked=("$@")
for ((i = 0; i < ${#asked[@]}; i++)); do
    case "${asked[i]}" in
    --device) device="${asked[i + 1]:-cuda}" ;;
    --device=*) device="${asked[i]#*=}" ;;
    esac
done

serves() { # a Python whose torch has the device
    command -v "$1" >/dev/null 2>&1 && "$1" - "$device" 2>/dev/null <<'PY'
import sys
import torch

torch.empty(1, device=sys.argv[1])
PY
}

python=
for one in "${PYTHON:-}" .venv/bin/python .venv-gpu/bin/python python3; do
    if [ -n "$one" ] && serves "$one"; then
        python=$one
        break
    fi
done
if [ -z "$python" ]; then
    if [ "${device%%:*}" = cuda ] && ! [ -e /dev/nvidiactl ] && ! nvidia-smi >/dev/null 2>&1; then
        echo "error: no CUDA GPU here. Run it where there is one, or try its path: benchmarks/gpu.sh --device cpu --small" >&2
        exit 4
    fi
    base=${PYTHON:-python3}
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $base is older than Python 3.11. Name another: PYTHON=python3.12 benchmarks/gpu.sh" >&2; exit 4; }
    "$base" -m venv .venv-gpu
    .venv-gpu/bin/python -m pip install --quiet --disable-pip-version-check --editable . >&2
    python=.venv-gpu/bin/python
    serves "$python" || { echo "error: torch was installed into .venv-gpu but cannot use $device. Look at its driver, or name a Python: PYTHON=... benchmarks/gpu.sh" >&2; exit 4; }
fi

site=$PWD/.gpu-site/packages
export PYTHONPATH=$PWD/src:$site${PYTHONPATH:+:$PYTHONPATH}
from=()
[ -n "${WHEELS:-}" ] && from=(--no-index --find-links "$WHEELS")
for round in 1 2 3 4; do # what is installed may lack something in turn
    mapfile -t needed < <("$python" benchmarks/gpu_needs.py)
    [ "${#needed[@]}" -gt 0 ] || break
    [ "$round" -lt 4 ] || { echo "error: $python still lacks ${needed[*]}. Install them, or name another Python: PYTHON=... benchmarks/gpu.sh" >&2; exit 4; }
    echo "installing into .gpu-site: ${needed[*]}" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target "$site" "${from[@]}" "${needed[@]}" >&2
done
exec "$python" "benchmarks/${PROGRAM:-gpu.py}" "$@"
