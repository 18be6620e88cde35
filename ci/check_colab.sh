#!/usr/bin/env bash
# Plays Colab: a clean environment in which torch, ipykernel and a stand-in for google.colab are there already, this
# commit as the repository to clone from, and notebook 01 run from its first cell. Takes some minutes and 7 GB.
#   bash ci/check_colab.sh [PYTHON]        default python3.12
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
[ ! -e /content ] || { echo "error: /content is there already; this check makes and removes it" >&2; exit 2; }
WORK="$(mktemp -d)"
mkdir /content
trap 'rm -rf "$WORK" /content' EXIT

"${1:-python3.12}" -m venv "$WORK/env"
"$WORK/env/bin/pip" install --quiet "torch==2.14.1" "torchvision==0.29.1" ipykernel ipywidgets nbclient nbformat
COLAB="$("$WORK/env/bin/python" -c 'import site; print(site.getsitepackages()[0])')/google/colab"
mkdir -p "$COLAB" "$WORK/ipython/profile_default/startup"
echo "from . import output" >"$COLAB/__init__.py"
printf 'called = []\ndef enable_custom_widget_manager():\n    called.append(True)\n' >"$COLAB/output.py"
echo "import google.colab" >"$WORK/ipython/profile_default/startup/colab.py"
"$WORK/env/bin/python" -m ipykernel install --prefix "$WORK/env" >/dev/null 2>&1

git clone --quiet "$ROOT" "$WORK/repository"
"$WORK/env/bin/python" "$WORK/repository/ci/colab.py" --repository "$WORK/repository"
IPYTHONDIR="$WORK/ipython" "$WORK/env/bin/python" - "$WORK/repository/notebooks/01_feature_probing.ipynb" <<'PY'
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
notebook.cells.append(nbformat.v4.new_code_cell(
    "import os, torch, google.colab.output as output\n"
    "print(torch.__version__.split('+')[0], output.called, os.getcwd())"))
NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": "/content"}}).execute()
said = notebook.cells[-1].outputs[0]["text"].strip()
wanted = "2.14.1 [True] /content/bdgan_lib/notebooks"
sys.exit(0 if said == wanted else f"got {said!r}, wanted {wanted!r}")
PY
echo "notebook 01 ran as on Colab: torch stayed, widgets are allowed"
