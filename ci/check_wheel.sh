#!/usr/bin/env bash
# Plays a user without the repository: builds sdist and wheel, installs the wheel into an empty environment, and runs
# commands and a notebook from another folder. There, every attempt to read a file of the repository fails.
#   bash ci/check_wheel.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
find_python
make_environment
borrow_pip_settings
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
uv() { "$PY" -m uv --quiet --no-progress "$@"; }

# A copy of what git knows or would add: a build leaves files in its source.
mkdir "$WORK/source"
(cd "$ROOT" && git ls-files -co --exclude-standard -z | while IFS= read -r -d '' file; do
    if [ -f "$file" ]; then printf '%s\0' "$file"; fi
done | xargs -0 cp --parents -t "$WORK/source")
uv build --no-build-isolation --python "$PY" --out-dir "$WORK/dist" "$WORK/source" # the wheel comes from the sdist
wheel="$(ls "$WORK"/dist/*.whl)"
say "built $(basename "$wheel"), $(($(stat -c %s "$wheel") / 1000000)) MB, and $(basename "$(ls "$WORK"/dist/*.tar.gz)")"

uv venv --python "$PYTHON" "$WORK/env"
uv pip install --python "$WORK/env/bin/python" --constraint "$ROOT/requirements.txt" "bdgan-lib[tutorial] @ file://$wheel"
cat >"$("$WORK/env/bin/python" -c 'import site; print(site.getsitepackages()[0])')/sitecustomize.py" <<PY
import sys

def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("$ROOT/"):
        raise PermissionError(f"the repository is out of reach: {arguments[0]}")

sys.addaudithook(refuse)
PY

mkdir "$WORK/elsewhere"
cd "$WORK/elsewhere"
export PATH="$WORK/env/bin:$PATH" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" XDG_DATA_HOME="$WORK/data" HOME="$WORK/home"
export JUPYTER_PREFER_ENV_PATH=1
unset BDGAN_ASSETS BDGAN_HOME PYTHONPATH VIRTUAL_ENV JUPYTER_PATH IPYTHONDIR # ci/test.sh points the last two here
mkdir "$HOME"
python - <<'PY'
import sys

import bdgan_lib
from bdgan_lib.core.assets import user_folder

assert sys.prefix in bdgan_lib.__file__, bdgan_lib.__file__
assert not {"torch", "numpy"} & set(sys.modules), "importing the package imports torch or numpy"
assert sys.prefix not in str(user_folder("annotations")), "a user's files would go among installed packages"
PY
bdgan info
{
bdgan sample --out sheet.png --classes robin,mug --count 2
bdgan synthesize --out set --images 2
bdgan validate set
bdgan tutorial --out tutorial --only 00
} 2>"$WORK/log" || { tail -n 20 "$WORK/log" >&2; stop "a command of the installed package failed"; }
mv "$(python -c 'import bdgan_lib, pathlib; print(pathlib.Path(bdgan_lib.__file__).parent / "assets")')" "$WORK/hidden"
if message="$(bdgan info 2>&1)"; then
    stop "bdgan info succeeded without assets"
fi
case "$message" in
    *missing*"looked for"*"install the package again"*) say "without assets it says: $message" ;;
    *) stop "without assets it says only: $message" ;;
esac
say "the wheel works without the repository"
