# Sourced by tutorial.sh and test.sh. Gives them $ROOT, find_python (sets $PYTHON) and make_environment (sets $PY).
#
# BDGAN_PYTHON   the Python to build with (3.10 or newer); otherwise the first that fits of python3.12, 3.11, 3.10, python3
# BDGAN_VENV     where the environment goes; otherwise .venv in the repository
# BDGAN_NEED_GB  free space asked for before an installation

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="${BDGAN_VENV:-$ROOT/.venv}"
case "$VENV" in /*) ;; *) VENV="$PWD/$VENV" ;; esac
MARK="$VENV/bdgan-environment"   # line 1: where and with what Python; line 2: what is installed, or "incomplete"
UV_PIN="uv==0.13.9"
NEED_GB="${BDGAN_NEED_GB:-8}"    # 6 GB of packages on Linux, mostly CUDA libraries, and room to unpack

stop() { echo "error: $*" >&2; exit 2; }
say() { echo "environment: $*"; }

# Prints the base interpreter behind $1 (never one inside a virtual environment) if it is new enough.
usable_python() {
    "$1" -c 'import sys
if sys.version_info < (3, 10): sys.exit(1)
print(getattr(sys, "_base_executable", None) or sys.executable)' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${BDGAN_PYTHON:-}" ]; then
        PYTHON="$(usable_python "$BDGAN_PYTHON")" ||
            stop "BDGAN_PYTHON=$BDGAN_PYTHON is not a Python 3.10 or newer; name one that is, or unset it"
        return
    fi
    for candidate in python3.12 python3.11 python3.10 python3 python; do
        if PYTHON="$(usable_python "$candidate")" && [ -n "$PYTHON" ]; then return; fi
    done
    stop "no Python 3.10 or newer found ($(python3 --version 2>/dev/null || echo "no python3") is on the path);" \
        "install one, or name it: BDGAN_PYTHON=/path/to/python"
}

hash_of() { "$PYTHON" -c 'import hashlib, sys
h = hashlib.sha256()
for name in sys.argv[1:]: h.update(open(name, "rb").read() + b"\0")
print(h.hexdigest())' "$@"; }

device_of() { "$PYTHON" -c 'import os, sys
path = os.path.abspath(sys.argv[1])
while not os.path.exists(path): path = os.path.dirname(path)
print(os.stat(path).st_dev)' "$1"; }

# uv does not read pip's settings: hand on the two that people behind a mirror depend on.
borrow_pip_settings() {
    local index="${PIP_INDEX_URL:-}"
    [ -n "$index" ] || index="$("$PY" -m pip config get global.index-url 2>/dev/null || true)"
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$index"; fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
}

# step WHAT COMMAND...: runs it with its output in $LOG and a sign of life every 15 s; on failure one line, and no environment is left.
step() {
    local what="$1" began=$SECONDS pid next=15
    shift
    "$@" >>"$LOG" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; rm -f "$LOG"; echo "interrupted while installing; the next call starts over" >&2; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - began)) -ge "$next" ]; then
            say "  ... $what, $((SECONDS - began)) s ($(tail -n 1 "$LOG" | cut -c 1-80))"
            next=$((next + 15))
        fi
    done
    if wait "$pid"; then trap - INT TERM; return; fi
    trap - INT TERM
    rm -rf "$VENV"
    if grep -qiE "no space left|os error 28|errno 28|disk quota" "$LOG"; then
        rm -f "$LOG"
        stop "no space left while $what in $VENV: about 8 GB are needed there, and as much in uv's cache if that is on another disk. Nothing was kept"
    fi
    stop "$what failed: $(grep -v '^ *$' "$LOG" | grep -iE "error|×|╰|failed" | tail -n 1 | cut -c 1-200); the whole log is $LOG"
}

make_environment() {
    local where what free cache
    PY="$VENV/bin/python"
    where="$ROOT $("$PYTHON" -c 'import platform, sys; print(platform.python_implementation(), platform.python_version(), sys.executable)')"
    what="$(hash_of "$ROOT/requirements.txt" "$ROOT/pyproject.toml" "$ROOT/ci/environment.sh")"
    if [ -x "$PY" ] && [ "$(cat "$MARK" 2>/dev/null)" = "$where
$what" ]; then
        return
    fi
    if [ -e "$VENV" ] && [ ! -e "$MARK" ]; then
        stop "$VENV is there but was not made by this command; move it away, or choose another place with BDGAN_VENV=FOLDER"
    fi
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        stop "$PYTHON has no venv module (on Debian and Ubuntu: apt-get install python3-venv); install it, or name another with BDGAN_PYTHON"

    if [ "$(head -n 1 "$MARK" 2>/dev/null)" = "$where" ] && [ "$(tail -n 1 "$MARK")" != incomplete ] && [ -x "$PY" ]; then
        say "requirements have changed: bringing $VENV up to date"
    else
        free="$(df -Pk "$(dirname "$VENV")" | awk 'NR == 2 { print int($4 / 1048576) }')"
        [ "$free" -ge "$NEED_GB" ] ||
            stop "$free GB free for $VENV, about $NEED_GB GB needed; free some space, or choose another place with BDGAN_VENV=FOLDER"
        rm -rf "$VENV"
        mkdir -p "$VENV" || stop "cannot create $VENV"
    fi
    printf '%s\nincomplete\n' "$where" >"$MARK" || stop "cannot write to $VENV"

    LOG="$(mktemp "${TMPDIR:-/tmp}/bdgan-install.XXXXXX")" || stop "cannot write to ${TMPDIR:-/tmp}"
    local began=$SECONDS
    if [ ! -x "$PY" ]; then
        say "$("$PYTHON" --version) at $PYTHON"
        step "making $VENV" "$PYTHON" -m venv "$VENV"
    fi
    step "installing uv" "$PY" -m pip install --quiet --disable-pip-version-check "$UV_PIN"
    borrow_pip_settings
    cache="$("$PY" -m uv cache dir 2>/dev/null || echo "$HOME")"
    # Hard links save 6 GB and most of the time, but need both ends on one disk.
    if [ -z "${UV_LINK_MODE:-}" ] && [ "$(device_of "$cache")" != "$(device_of "$VENV")" ]; then export UV_LINK_MODE=copy; fi
    say "installing the pins of requirements.txt (up to 3 GB to download, once)"
    step "installing the pins" "$PY" -m uv pip sync --no-progress --python "$PY" "$ROOT/requirements.txt"
    step "installing bdgan-lib" "$PY" -m uv pip install --no-progress --python "$PY" --no-deps --no-build-isolation --editable "$ROOT"
    printf '%s\n%s\n' "$where" "$what" >"$MARK.partial" && mv "$MARK.partial" "$MARK" || stop "cannot write $MARK"
    rm -f "$LOG"
    say "ready in $((SECONDS - began)) s"
}
