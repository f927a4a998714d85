#!/bin/sh
# Installs omnishim as a systemd service from a built checkout (npm ci && npm run build) or an unpacked package.
#
#   install.sh                      /opt/omnishim, /etc/omnishim, the unit; enables it and starts it (again)
#   install.sh --jaeger v1 BINARY   the same for a native Jaeger all-in-one 1.x (v2: Jaeger v2): /opt/jaeger, its unit
#   install.sh --uninstall          takes away both services and programs; keeps /etc/omnishim, /etc/jaeger and all data
#
# Run it as often as you like: programs and units are replaced, files in /etc that exist are kept. With DESTDIR=DIR it only
# puts files below DIR: no users, no systemctl.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
root=${DESTDIR:-}
units=$root/etc/systemd/system

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

# Does its arguments on the running system, and nothing below DESTDIR.
live() {
  if [ -z "$root" ]; then "$@"; fi
}

add_user() {
  getent passwd "$1" >/dev/null || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"
}

# keep FILE TARGET: a configuration file that is there already stays.
keep() {
  if [ -e "$2" ]; then echo "kept $2"; else install -D -m 0644 "$1" "$2"; fi
}

start() {
  systemctl daemon-reload
  systemctl enable "$1"
  systemctl restart "$1"
}

install_omnishim() {
  command -v node >/dev/null || fail "node was not found; omnishim needs Node 20.19 or newer"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    fail "node $(node --version) is too old; omnishim needs 20.19 or newer"
  [ -f "$source/dist/main.js" ] || fail "$source/dist/main.js is not there; run: npm ci && npm run build"
  [ -d "$source/node_modules" ] || fail "$source/node_modules is not there; run: npm ci"
  live add_user omnishim
  new=$root/opt/omnishim.new
  rm -rf "$new"
  mkdir -p "$new"
  for part in dist proto demo node_modules package.json LICENSE README.md; do cp -RL "$source/$part" "$new/$part"; done
  rm -rf "$root/opt/omnishim"
  mv "$new" "$root/opt/omnishim"
  keep "$source/otel.yml" "$root/etc/omnishim/otel.yml"
  keep "$here/omnishim.env" "$root/etc/omnishim/omnishim.env"
  install -D -m 0644 "$here/omnishim.service" "$units/omnishim.service"
  live start omnishim.service
  echo "omnishim is installed; its settings are in $root/etc/omnishim, its log in journalctl -u omnishim"
}

install_jaeger() {
  [ -x "$2" ] || fail "$2 is not a program"
  case $1 in
    v1) name=jaeger-all-in-one ;;
    v2) name=jaeger && keep "$here/jaeger-v2.yml" "$root/etc/jaeger/jaeger-v2.yml" ;;
    *) fail "--jaeger takes v1 or v2, not $1" ;;
  esac
  live add_user jaeger
  install -D -m 0755 "$2" "$root/opt/jaeger/$name"
  install -D -m 0644 "$here/jaeger-$1.service" "$units/jaeger-$1.service"
  live start "jaeger-$1.service"
  echo "Jaeger $1 is installed; its log is in journalctl -u jaeger-$1"
}

uninstall() {
  for unit in omnishim jaeger-v1 jaeger-v2; do
    [ -e "$units/$unit.service" ] || continue
    live systemctl disable --now "$unit.service"
    rm -f "$units/$unit.service"
  done
  live systemctl daemon-reload
  rm -rf "$root/opt/omnishim" "$root/opt/jaeger/jaeger" "$root/opt/jaeger/jaeger-all-in-one"
  echo "removed; $root/etc/omnishim, $root/etc/jaeger, $root/var/lib/omnishim and $root/var/lib/jaeger are kept"
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must be run as root (or with DESTDIR)"
case "${1:-}" in
  "") install_omnishim ;;
  --jaeger) [ $# = 3 ] || fail "usage: install.sh --jaeger v1|v2 BINARY"; install_jaeger "$2" "$3" ;;
  --uninstall) uninstall ;;
  *) fail "unknown: $1; usage: install.sh [--jaeger v1|v2 BINARY | --uninstall]" ;;
esac
