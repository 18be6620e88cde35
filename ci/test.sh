#!/usr/bin/env bash
# Everything a change must pass: lint, format, types, prose, tests, the committed notebooks run again, and the wheel.
#   bash ci/test.sh                          all of it
#   bash ci/test.sh tests/ci -k name         arguments go to pytest; the notebooks and the wheel are left out
#   BDGAN_TIMES=FILE.json bash ci/test.sh    writes the seconds of every stage to a file
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

find_python
make_environment
summary="${BDGAN_TIMES:-}"
case "$summary" in "" | /*) ;; *) summary="$PWD/$summary" ;; esac
cd "$ROOT"
# Kernels of this environment, and nothing left in the user's home.
export JUPYTER_PREFER_ENV_PATH=1 JUPYTER_PATH="$VENV/share/jupyter" IPYTHONDIR="$VENV/ipython"
installed=$SECONDS
failed=0
report=""
times=""
workers=""
RESULTS="$(mktemp -d)" # of every stage a folder: its output, and how it went
trap 'rm -rf "$RESULTS"' EXIT
trap 'for pid in $workers; do kill -- "-$pid" 2>/dev/null || true; done; exit 130' INT TERM

shopt -s nullglob
notebooks=(notebooks/*.ipynb)
# These read what earlier ones saved, so that they run in order, as one stage; each of the others is a stage,
# but one that trains for an hour: tests/test_photographs.py runs it with small budgets.
chain=()
others=()
for path in ${notebooks[@]+"${notebooks[@]}"}; do
    if grep -q 'train_generator(' "$path"; then
        report+="$(basename "$path" .ipynb)       not rerun (it trains for an hour; the tests run it small)"$'\n'
    elif grep -qE 'save_head\(|Workspace\(' "$path"; then chain+=("$path"); else others=("$path" ${others[@]+"${others[@]}"}); fi
done

# rerun NOTEBOOK...: every cell must run; only cells tagged nbval-check-output are compared with what is committed.
rerun() {
    "$PY" -m pytest -q -p no:cacheprovider --nbval-lax --nbval-current-env --nbval-cell-timeout 900 \
        --nbval-kernel-startup-timeout 120 --nbval-sanitize-with ci/nbval_sanitize.cfg "$@"
}

# perform NAME [ARGUMENT...]: what a stage does.
perform() {
    case "$1" in
        lint) "$PY" -m ruff check . ;;
        format) "$PY" -m ruff format --check --quiet . ;;
        types) "$PY" -m mypy ;;
        prose) "$PY" ci/prose.py ;;
        notebooks) rerun "${chain[@]}" ;;
        wheel) bash ci/check_wheel.sh ;;
        tests) "$PY" -m pytest -q "${@:2}" ;;
        *) rerun "notebooks/$1.ipynb" ;;
    esac
}

# note NAME VERDICT SECONDS: for the summary.
note() {
    if [ "$2" != passed ]; then failed=1; fi
    report+="$(printf '%-24s %-7s %5d s' "$@")"$'\n'
    times+="$1 $2 $3"$'\n'
}

# stage NAME [ARGUMENT...]: runs it, goes on after a failure, and notes how it went.
stage() {
    local began=$SECONDS verdict=passed
    echo
    echo "== $1"
    perform "$@" || verdict=FAILED
    note "$1" "$verdict" $((SECONDS - began))
}

# worker NAME...: runs those stages that the other worker has not begun.
worker() {
    local name began verdict
    for name in "$@"; do
        mkdir "$RESULTS/$name" 2>/dev/null || continue
        began=$SECONDS verdict=passed
        IPYTHONDIR="$RESULTS/$name/ipython" perform "$name" >"$RESULTS/$name/output" 2>&1 </dev/null || verdict=FAILED
        echo "$verdict $((SECONDS - began))" >"$RESULTS/$name/partial"
        mv "$RESULTS/$name/partial" "$RESULTS/$name/verdict"
    done
}

# stages NAME...: two at a time, begun in this order; the output of each is printed when it ends.
stages() {
    local pid verdict seconds name waiting="$*" still running
    set -m # each worker leads a process group, which Ctrl-C ends
    worker "$@" & workers="$!"
    worker "$@" & workers+=" $!"
    set +m
    while [ -n "$waiting" ]; do
        running=0
        for pid in $workers; do if kill -0 "$pid" 2>/dev/null; then running=1; fi; done
        still=""
        for name in $waiting; do
            if [ -e "$RESULTS/$name/verdict" ]; then
                read -r verdict seconds <"$RESULTS/$name/verdict"
                echo
                echo "== $name"
                cat "$RESULTS/$name/output"
                note "$name" "$verdict" "$seconds"
            elif [ "$running" -eq 0 ]; then
                note "$name" FAILED 0 # its worker was killed
            else
                still+=" $name"
            fi
        done
        waiting="$still"
        if [ -n "$waiting" ]; then sleep 1; fi
    done
    workers=""
}

if [ $# -gt 0 ]; then
    for name in lint format types prose; do stage "$name"; done
    report+="notebooks                left out (arguments were given)"$'\n'
    stage tests "$@"
else
    export OMP_NUM_THREADS=1 # of two processes
    stages lint format prose ${chain[0]:+notebooks} wheel $(for path in ${others[@]+"${others[@]}"}; do basename "$path" .ipynb; done) types
    stage tests -n 2 --dist loadfile --no-loadscope-reorder
fi

echo
echo "== summary"
printf '%s' "$report"
if [ "$failed" -ne 0 ]; then echo "FAILED after $SECONDS s"; else echo "all passed in $SECONDS s"; fi
if [ -n "$summary" ]; then
    printf '%s' "$times" | "$PY" -c 'import json, os, sys
stages = [line.split() for line in sys.stdin]
summary = {"seconds": int(sys.argv[2]), "installation": int(sys.argv[3]), "cores": os.cpu_count(),
           "passed": all(verdict == "passed" for _, verdict, _ in stages),
           "stages": {name: int(seconds) for name, _, seconds in stages}}
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(json.dumps(summary, indent=1) + "\n")' "$summary" "$SECONDS" "$installed"
fi
exit "$failed"
