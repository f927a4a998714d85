#!/bin/sh
# Installs omnishim as a systemd service.
#
#   install.sh                      from a built checkout (npm ci && npm run build) or an unpacked package, run by this machine's
#                                   Node: /opt/omnishim, /etc/omnishim, the unit; enables it and starts it (again)
#   install.sh --binary FILE        the same with the executable that `npm run build:binary` made, on a machine without Node
#   install.sh --jaeger v1 BINARY   the same for a native Jaeger all-in-one 1.x (v2: Jaeger v2): /opt/jaeger, its unit
#   install.sh --uninstall          takes away both services and programs; keeps /etc/omnishim, /etc/jaeger, data and logs
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

# Fills /opt/omnishim.new with the program of this checkout and a script that starts it.
copy_package() {
  command -v node >/dev/null || fail "node was not found; omnishim needs Node 20.19 or newer"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    fail "node $(node --version) is too old; omnishim needs 20.19 or newer"
  [ -f "$source/dist/main.js" ] || fail "$source/dist/main.js is not there; run: npm ci && npm run build"
  [ -d "$source/node_modules" ] || fail "$source/node_modules is not there; run: npm ci"
  for part in dist proto demo node_modules package.json README.md; do cp -RL "$source/$part" "$new/$part"; done
  cat >"$new/omnishim" <<'END'
#!/bin/sh
exec node "$(dirname "$(readlink -f "$0")")/dist/main.js" "$@"
END
  chmod 0755 "$new/omnishim"
}

# The same with the executable FILE, and the licences of what is in it.
copy_binary() {
  [ -x "$1" ] || fail "$1 is not a program; make it with: npm run build:binary"
  "$1" --version >/dev/null || fail "$1 does not run on this machine"
  install -m 0755 "$1" "$new/omnishim"
  licences=$(dirname "$1")/THIRD-PARTY-LICENSES.txt
  if [ -e "$licences" ]; then cp "$licences" "$new"; fi
}

# install_omnishim copy_package | install_omnishim copy_binary FILE
install_omnishim() {
  new=$root/opt/omnishim.new
  rm -rf "$new"
  mkdir -p "$new"
  "$@"
  cp "$source/LICENSE" "$new"
  live add_user omnishim
  rm -rf "$root/opt/omnishim"
  mv "$new" "$root/opt/omnishim"
  mkdir -p "$root/usr/local/bin"
  ln -sf /opt/omnishim/omnishim "$root/usr/local/bin/omnishim"
  keep "$source/otel.yml" "$root/etc/omnishim/otel.yml"
  keep "$here/omnishim.env" "$root/etc/omnishim/omnishim.env"
  keep "$here/logrotate.conf" "$root/etc/logrotate.d/omnishim"
  install -D -m 0644 "$here/tmpfiles.conf" "$root/etc/tmpfiles.d/omnishim.conf"
  install -D -m 0644 "$here/omnishim.service" "$units/omnishim.service"
  if command -v systemd-notify >/dev/null; then
    rm -rf "$units/omnishim.service.d/no-systemd-notify.conf"
  else
    install -D -m 0644 "$here/no-systemd-notify.conf" "$units/omnishim.service.d/no-systemd-notify.conf"
  fi
  live systemd-tmpfiles --create "$root/etc/tmpfiles.d/omnishim.conf"
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
  rm -rf "$units/omnishim.service.d/no-systemd-notify.conf"
  rmdir "$units/omnishim.service.d" 2>/dev/null || true
  live systemctl daemon-reload
  rm -rf "$root/opt/omnishim" "$root/opt/jaeger/jaeger" "$root/opt/jaeger/jaeger-all-in-one"
  rm -f "$root/usr/local/bin/omnishim" "$root/etc/logrotate.d/omnishim" "$root/etc/tmpfiles.d/omnishim.conf"
  echo "removed; settings in $root/etc/omnishim and $root/etc/jaeger are kept, and all below $root/var"
}

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must be run as root (or with DESTDIR)"
case "${1:-}" in
  "") install_omnishim copy_package ;;
  --binary) [ $# = 2 ] || fail "usage: install.sh --binary FILE"; install_omnishim copy_binary "$2" ;;
  --jaeger) [ $# = 3 ] || fail "usage: install.sh --jaeger v1|v2 BINARY"; install_jaeger "$2" "$3" ;;
  --uninstall) uninstall ;;
  *) fail "unknown: $1; usage: install.sh [--binary FILE | --jaeger v1|v2 BINARY | --uninstall]" ;;
esac
