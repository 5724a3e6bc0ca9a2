#!/bin/sh
# Make .venv and install this project into it, from pinned constraints. Usage: infra/bootstrap.sh [dev]
# Needs nothing but a Python 3.11-3.13 with venv; as root on Debian it installs that too.
set -eu
cd "$(dirname "$0")/.."
extra="${1:-}"

usable() { # a Python 3.11-3.13 that can make virtual environments
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}
choose() { # Debian's own first: an interpreter in root's home cannot be used by tests that drop privileges
  for python in ${PYTHON:-} /usr/bin/python3 python3.13 python3.12 python3.11 python3; do
    if usable "$python"; then echo "$python"; return; fi
  done
}

python=$(choose)
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Debian's python3-venv" >&2
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  python=$(choose)
fi
if [ -z "$python" ]; then
  echo "dualstream needs Python 3.11, 3.12 or 3.13 with venv; found: $(python3 --version 2>&1 || echo none)." \
    "Cure: apt-get install python3-venv, or PYTHON=/path/to/python3.12 make ..." >&2
  exit 1
fi

[ -x .venv/bin/python ] && .venv/bin/python -c pass 2>/dev/null || { rm -rf .venv; "$python" -m venv .venv; }
target=".${extra:+[$extra]}"
if .venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt uv 2>/dev/null; then
  .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python \
    -c constraints.txt -b constraints.txt -e "$target"
else
  echo "uv could not be had; using pip (slower)" >&2
  .venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e "$target"
fi
touch ".venv/.installed${extra:+-$extra}" .venv/.installed
