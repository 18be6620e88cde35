#!/usr/bin/env bash
# The project's site: guides, notebooks as chapters, references, gallery. Offline; warnings are errors.
#   bash ci/site.sh [--out runs/site] [--figures DIR]        bash ci/site.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

find_python
make_environment
exec "$PY" "$ROOT/docs/make" "$@"
