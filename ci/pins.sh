#!/usr/bin/env bash
# Rewrites requirements.txt from pyproject.toml: newest versions that work together on Python 3.10 and later, no host names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PY="${BDGAN_PYTHON:-.venv/bin/python}"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
echo "# Written by 'bash ci/pins.sh' from pyproject.toml (all extras). Edit that, then run it again." > "$new"
"$PY" -m uv pip compile --quiet --universal --python-version 3.10 --upgrade --extra all \
    --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml |
    grep -v "sys_platform == 'never'" >> "$new" # what pyproject.toml overrides away
cat "$new" > requirements.txt
echo "requirements.txt: $(grep -c == requirements.txt) pins"
