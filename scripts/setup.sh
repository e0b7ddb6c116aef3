#!/usr/bin/env bash
# Sets up what `make demo` and `make test` need on Debian 12: system packages, .venv, the private OpenSSL 1.1.
# Quick when repeated: nothing is done twice as long as this file, pyproject.toml and the interpreter stay the same.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
openssl=${OCRWATCH_OPENSSL11:-$PWD/.cache/openssl-1.1}
stamp=.venv/.set-up

# What each is for is said when it cannot be had.
packages=(
  python3-venv              # the environment in .venv
  python3-dev gcc g++ make  # builds llama-cpp-python and systemd-python
  pkg-config libsystemd-dev # builds systemd-python
  tesseract-ocr-eng tesseract-ocr-osd tesseract-ocr-deu tesseract-ocr-fra # what Tesseract knows of languages
  fonts-dejavu-core         # the letters of the demo's and the tests' scans
  poppler-utils             # the tests that read searchable PDFs back with another reader
  strace                    # the tests that kill the daemon at a chosen system call
  fuse3                     # the tests' network shares
  btrfs-progs xfsprogs      # the tests on file systems that share blocks
)

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { # what, why, command
  printf 'setup: %s (needed: %s). Run: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  local missing why="Tesseract's languages, a compiler and a font" command
  if ! command -v dpkg-query >/dev/null; then
    say "no Debian packages here; ocrwatch needs what these hold: ${packages[*]}"
    return
  fi
  missing=$(missing_packages)
  missing=${missing% }
  [ -n "$missing" ] || return 0
  command="sudo apt-get install $missing"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "missing packages and no right to install them" "$why" "$command"
  say "installing $missing"
  as_root apt-get update -qq || say "apt-get update failed; trying with the package lists that are here"
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get could not install $missing" "$why" "$command"
}

make_environment() {
  command -v "$python" >/dev/null || fail "there is no $python" "Python 3.11 to 3.13" "make PYTHON=/path/to/python3 setup"
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$("$python" --version) does not fit" "Python 3.11 to 3.13" "make PYTHON=/path/to/python3 setup"
  if [ "$(.venv/bin/python --version 2>&1)" != "$("$python" --version 2>&1)" ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear .venv || fail "no virtual environment in .venv" "ocrwatch and its libraries" "$python -m venv .venv"
  fi
  .venv/bin/python -c 'import llama_cpp' 2>/dev/null ||
    say "installing; llama-cpp-python is built from source the first time, 3 to 6 minutes without a word"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,demo]' ||
    fail "pip could not install ocrwatch" "the libraries in pyproject.toml" ".venv/bin/python -m pip install -e '.[dev,demo]'"
}

fetch_openssl() {
  [ ! -e "$openssl/libssl.so.1.1" ] || return 0
  # Only the Aspose engine wants it: its tests are skipped without, and say so.
  .venv/bin/python -m ocrwatch.tools.openssl11 "$openssl" ||
    say "no OpenSSL 1.1 in $openssl (needed: Aspose.OCR). Run: .venv/bin/python -m ocrwatch.tools.openssl11 $openssl"
}

state() { # changes when the environment has to be made again
  cat pyproject.toml scripts/setup.sh
  "$python" --version 2>&1 || true
  pwd
}

wanted=$(state | sha256sum)
if [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
  install_packages
  make_environment
  printf '%s' "$wanted" >$stamp
fi
fetch_openssl
