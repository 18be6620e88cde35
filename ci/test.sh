#!/usr/bin/env bash
# Everything a change must pass: lint, format, types, tests, the committed notebooks run again, and the wheel.
#   bash ci/test.sh                   all of it
#   bash ci/test.sh tests/ci -k name  arguments go to pytest; the notebooks and the wheel are left out
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

find_python
make_environment
cd "$ROOT"
# Kernels of this environment, and nothing left in the user's home.
export JUPYTER_PREFER_ENV_PATH=1 JUPYTER_PATH="$VENV/share/jupyter" IPYTHONDIR="$VENV/ipython"
failed=0
report=""

# stage NAME COMMAND...: runs it, goes on after a failure, and notes how it went.
stage() {
    local name="$1" began=$SECONDS verdict
    shift
    echo
    echo "== $name"
    if "$@"; then verdict=passed; else verdict=FAILED failed=1; fi
    report+="$(printf '%-10s %-7s %5d s' "$name" "$verdict" $((SECONDS - began)))"$'\n'
}

stage lint "$PY" -m ruff check .
stage format "$PY" -m ruff format --check --quiet .
stage types "$PY" -m mypy
shopt -s nullglob
notebooks=(notebooks/*.ipynb)
if [ $# -gt 0 ]; then
    report+="notebooks  left out (arguments were given)"$'\n'
elif [ ${#notebooks[@]} -gt 0 ]; then
    # Every cell must run; only cells tagged nbval-check-output are compared with what is committed.
    stage notebooks "$PY" -m pytest -q -p no:cacheprovider --nbval-lax --nbval-current-env --nbval-cell-timeout 900 \
        --nbval-kernel-startup-timeout 120 --nbval-sanitize-with ci/nbval_sanitize.cfg "${notebooks[@]}"
fi
if [ $# -gt 0 ]; then
    stage tests "$PY" -m pytest -q "$@"
else
    # Two files at a time, one thread each.
    stage tests env OMP_NUM_THREADS=1 "$PY" -m pytest -q -n 2 --dist loadfile
    stage wheel bash ci/check_wheel.sh
fi

echo
echo "== summary"
printf '%s' "$report"
if [ "$failed" -ne 0 ]; then echo "FAILED after $SECONDS s"; else echo "all passed in $SECONDS s"; fi
exit "$failed"
