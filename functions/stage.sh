#!/bin/sh
# Builds what Azure gets of the function tier: wheels, the core and a model below this folder, and build/functions.zip.
# azd calls it before it packages; build_package.py says what it does. It takes the Python of the target, whose
# compiled files and wheels these are:   stage.sh [MODEL or FAMILY]
set -eu
cd "$(dirname "$0")"
for python in "${PYTHON312:-}" python3.12 ../.venv/bin/python python3 python "$HOME"/.pyenv/versions/3.12.*/bin/python \
  "$(command -v uv >/dev/null && uv python find 3.12 2>/dev/null || true)"; do
  if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then
    exec "$python" build_package.py "$@"
  fi
done
echo "error: the function runs on Python 3.12, and none is here to compile it with. Install one (uv python install 3.12," \
  "pyenv, your system's packages), or say where it is: PYTHON312=/path/of/python3.12 $0" >&2
exit 1
