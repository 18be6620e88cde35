#!/usr/bin/env bash
# The whole tutorial in one command: an environment, every notebook in order, and a page to read at the end.
#   bash ci/tutorial.sh [--profile pocket] [--device cpu] [--only NAME] [--fresh]        bash ci/tutorial.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

find_python
# A mistyped option is told before anything is installed or written.
"$PYTHON" -B "$ROOT/ci/notebooks.py" --check "$@"
for argument in "$@"; do
    case "$argument" in -h | --help) exit 0 ;; esac
done
make_environment
exec "$PY" "$ROOT/ci/notebooks.py" "$@"
