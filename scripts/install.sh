#!/usr/bin/env bash
# `make install` and `make uninstall`: ocrwatch as a service, in /opt/ocrwatch, with the system's own Python. As root.
# Installing again brings a newer version over an older one. Nothing is enabled or started, no configuration is replaced, no data removed.
set -euo pipefail
umask 022 # the service's user reads what root installs, whatever root's own files are like
cd "$(dirname "$0")/.."

home=/opt/ocrwatch
shared=$home/share/ocrwatch # drop-ins, example and monitoring: what `ocrwatch doctor` and the documentation name
units=/usr/local/lib/systemd/system
sysusers=/usr/local/lib/sysusers.d
tmpfiles=/usr/local/lib/tmpfiles.d
catalog=/usr/lib/systemd/catalog
manual=/usr/local/share/man/man1
bash_completion=/usr/local/share/bash-completion/completions
zsh_completion=/usr/local/share/zsh/site-functions
fish_completion=/usr/local/share/fish/vendor_completions.d
configuration=/etc/ocrwatch

# A service's user cannot go into /root or a home, where other Pythons often are.
python=/usr/bin/python3
packages=(
  python3-venv              # the environment in /opt/ocrwatch
  python3-dev gcc g++ make  # builds llama-cpp-python and systemd-python
  pkg-config libsystemd-dev # builds systemd-python
  tesseract-ocr-eng tesseract-ocr-osd # English, and how a page is turned; other languages: tesseract-ocr-deu and so on
)

say() { printf 'install: %s\n' "$*" >&2; }
fail() { # what, command
  printf 'install: %s. Run: %s\n' "$1" "$2" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || fail "only root can do that" "sudo make $1"
}

system_packages() {
  local missing=() package
  command -v dpkg-query >/dev/null || { say "no Debian packages here; ocrwatch needs what these hold: ${packages[*]}"; return; }
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} != 0 ] || return 0
  say "installing ${missing[*]}"
  apt-get update -qq || say "apt-get update failed; trying with the package lists that are here"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install ${missing[*]}" "apt-get install ${missing[*]}"
}

environment() {
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    fail "$("$python" --version) does not fit, ocrwatch wants 3.11 to 3.13" "cat README.md"
  # Its `python` is a link to the system's: after an upgrade to another minor version that still starts, but finds no package.
  if ! "$home/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$home"/{bin,include,lib,lib64,pyvenv.cfg} # and not what else was put there, as OpenSSL for Aspose
    "$python" -m venv "$home"
  fi
  "$home/bin/python" -c 'import llama_cpp' 2>/dev/null || say "llama-cpp-python is built from source the first time, 3 to 6 minutes without a word"
  # From a copy: a build leaves folders behind, which are nobody's in a checkout but root's.
  local copy
  copy=$(mktemp -d)
  cp -a pyproject.toml README.md LICENSE ocrwatch "$copy/"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade "$copy[manual]" ||
    { rm -rf "$copy"; fail "pip could not install ocrwatch" "$home/bin/python -m pip install '.[manual]'"; }
  # The same version again is new code all the same.
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --force-reinstall --no-deps "$copy"
  rm -rf "$copy"
  ln -sfn "$home/bin/ocrwatch" /usr/local/bin/ocrwatch
}

manuals() {
  local made
  made=$(mktemp -d)
  "$home/bin/python" -m ocrwatch.tools.manual "$made" >/dev/null
  install -Dm644 "$made"/man1/*.1 -t "$manual/"
  install -Dm644 "$made/completion/ocrwatch.bash" "$bash_completion/ocrwatch"
  install -Dm644 "$made/completion/_ocrwatch" -t "$zsh_completion/"
  install -Dm644 "$made/completion/ocrwatch.fish" -t "$fish_completion/"
  rm -rf "$made"
}

service() {
  install -Dm644 systemd/ocrwatch.service -t "$units/"
  install -Dm644 systemd/ocrwatch.sysusers.conf "$sysusers/ocrwatch.conf"
  install -Dm644 systemd/ocrwatch.tmpfiles.conf "$tmpfiles/ocrwatch.conf"
  install -Dm644 systemd/ocrwatch.catalog -t "$catalog/"
  install -Dm644 systemd/*.conf config.example.yaml -t "$shared/"
  install -Dm644 monitoring/* -t "$shared/monitoring/"
  install -Dm644 docs/*.md README.md -t "$shared/docs/"
  systemd-sysusers "$sysusers/ocrwatch.conf"
  systemd-tmpfiles --create "$tmpfiles/ocrwatch.conf"
  journalctl --update-catalog
  [ -e "$configuration/config.yaml" ] || install -m640 -g ocrwatch config.example.yaml "$configuration/config.yaml"
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

install_all() {
  need_root install
  system_packages
  environment
  manuals
  service
  if [ -d /run/systemd/system ] && systemctl --quiet is-active ocrwatch; then
    say "$("$home/bin/ocrwatch" --version | tr -d ,) is installed; the running service has the old one. Run: systemctl restart ocrwatch"
    return
  fi
  cat <<NEXT
$("$home/bin/ocrwatch" --version | tr -d ,) is installed in $home. Nothing is enabled or started. Next, as root:

  \${EDITOR:-nano} $configuration/config.yaml      # your inboxes
  ocrwatch doctor                             # what is missing, and the command that mends it
  systemctl enable --now ocrwatch             # then: systemctl status ocrwatch, ocrwatch status
NEXT
}

uninstall_all() {
  need_root uninstall
  if [ -d /run/systemd/system ]; then
    systemctl --quiet disable --now ocrwatch 2>/dev/null || true
  fi
  rm -f "$units/ocrwatch.service" "$sysusers/ocrwatch.conf" "$tmpfiles/ocrwatch.conf" "$catalog/ocrwatch.catalog"
  rm -f "$manual"/ocrwatch.1 "$manual"/ocrwatch-*.1 "$bash_completion/ocrwatch" "$zsh_completion/_ocrwatch" "$fish_completion/ocrwatch.fish"
  rm -f /usr/local/bin/ocrwatch
  rm -rf "$home"
  journalctl --update-catalog || true
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
  say "removed. Left as they are: $configuration, /etc/systemd/system/ocrwatch.service.d, /var/lib/ocrwatch, /var/cache/ocrwatch, and the user ocrwatch"
}

case "${1:-}" in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "usage: $0 install|uninstall" "make help" ;;
esac
