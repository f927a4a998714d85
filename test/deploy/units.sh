# Runs inside a container with a real systemd (boot.ts): installs the services and says of each fact "ok NAME" or "FAILED NAME: why".
#   /src          the repository
#   /executable   the folder with the executable that npm run build:binary made
#   /jaeger/v1    Jaeger, where it is there
set -u
install=/src/deploy/systemd/install.sh
failed=0

check() {
  local name=$1 out
  shift
  if out=$("$@" 2>&1); then
    echo "ok $name"
  else
    failed=1
    echo "FAILED $name: $(tail -n 15 <<<"$out")"
    journalctl -u omnishim -n 15 --no-pager -o cat | sed 's/^/    /'
  fi
}

# until_ SECONDS COMMAND...: asks until it is so.
until_() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then "$@"; return 1; fi
    sleep 0.1
  done
}

show() { systemctl show "${2:-omnishim}" -p "$1" --value; }
is() { local found; found=$(show "$1" "${3:-omnishim}"); [ "$found" = "$2" ] || { echo "$1 is $found, not $2"; false; }; }
is_not() { local found; found=$(show "$1"); [ "$found" != "$2" ] || { echo "$1 is $found"; false; }; }
is_running() { is ActiveState active && is NRestarts 0; }
logged() { journalctl -u omnishim --no-pager -o cat | grep -F "$1"; }
accepts() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
post() { curl -fsS -H 'Content-Type: application/json' --data "$1" http://127.0.0.1:4318/v1/traces; }
get() { curl -fsS "http://127.0.0.1:16686/api/traces/$1" | grep -q "$1"; }
span() { printf '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"b7ad6b7169203331","name":"llm_request","kind":2,"startTimeUnixNano":"%s000000000","endTimeUnixNano":"%s500000000"}]}]}]}' "$1" "$(date +%s)" "$(date +%s)"; }

installed() { "$install" --binary /executable/omnishim-linux-*; }
check "install.sh --binary succeeds" installed
# `systemctl restart` has come back, so the program has said that it is ready.
check "4317 is open when the start has come back" accepts 4317
check "4318 is open when the start has come back" accepts 4318
check "the unit is Type=notify" is Type notify
check "the service is enabled" systemctl is-enabled omnishim
check "the service runs without a restart" is_running

confined() {
  local pid status
  pid=$(show MainPID)
  status=$(cat "/proc/$pid/status")
  [ "$(stat -c %U "/proc/$pid")" = omnishim ] && grep -q '^CapEff:.*0000000000000000$' <<<"$status" &&
    grep -q '^NoNewPrivs:.*1$' <<<"$status" && grep -q '^Seccomp:.*2$' <<<"$status" || { echo "$status"; false; }
}
check "the process is user omnishim's, without capabilities, with a system call filter" confined
clean() { local out; out=$(systemd-analyze verify --man=no omnishim.service 2>&1); [ -z "$out" ] || { echo "$out"; false; }; }
check "systemd-analyze verify finds nothing" clean
folders() { [ "$(stat -c '%U %a' /var/lib/omnishim /var/log/omnishim)" = "$(printf 'omnishim 750\nomnishim 750')" ]; }
check "its folders are its own" folders
command_line() { omnishim --version | grep -q '^omnishim version'; }
check "omnishim is a command" command_line

if command -v logrotate >/dev/null; then
  rotated() {
    echo before >/var/log/omnishim/own.log && chown omnishim: /var/log/omnishim/own.log &&
      logrotate --force /etc/logrotate.d/omnishim && [ ! -s /var/log/omnishim/own.log ] && grep -q before /var/log/omnishim/own.log.1
  }
  check "logrotate copies and empties a log in /var/log/omnishim" rotated
fi

reloaded() { systemctl reload omnishim && until_ 10 logged "The configuration was reloaded"; }
check "systemctl reload reads the configuration again" reloaded
check "a reload is no restart" is_running

watched() {
  mkdir -p /run/systemd/system/omnishim.service.d
  printf '[Service]\nWatchdogSec=3\n' >/run/systemd/system/omnishim.service.d/watchdog.conf
  systemctl daemon-reload && systemctl restart omnishim
  local before
  for _ in 1 2 3 4; do
    before=$(show WatchdogTimestampMonotonic)
    until_ 5 is_not WatchdogTimestampMonotonic "$before" || return 1
  done
  is_running
}
check "the watchdog is told again and again" watched
hung() {
  kill -STOP "$(show MainPID)"
  until_ 20 logged "Watchdog timeout" && until_ 20 is_not NRestarts 0 && until_ 20 is ActiveState active
}
check "a program that stands still is started again by the watchdog" hung
rm -r /run/systemd/system/omnishim.service.d

killed() {
  systemctl daemon-reload && systemctl restart omnishim && kill -KILL "$(show MainPID)"
  until_ 20 is NRestarts 1 && until_ 20 is ActiveState active && accepts 4317
}
check "a program that was killed is started again" killed

kept() {
  sed -i 's/^OMNISHIM_LISTEN_HOST=.*/OMNISHIM_LISTEN_HOST=0.0.0.0/' /etc/omnishim/omnishim.env
  installed && is ActiveState active && ss -ltn | grep -Eq '(\*|0\.0\.0\.0|\[::\]):4317 '
}
check "a second installation keeps the settings, and they count" kept

refused() {
  cp /etc/omnishim/otel.yml /tmp/otel.yml
  sed -i 's/request_merge/request_marge/' /etc/omnishim/otel.yml
  ! systemctl restart omnishim && logged request_marge
}
check "a wrong configuration fails the start, and the journal names it" refused
cp /tmp/otel.yml /etc/omnishim/otel.yml
check "the service comes back by itself once the configuration is right" until_ 20 is ActiveState active

if [ -x /jaeger/v1 ]; then
  trace=0af7651916cd43dd8448eb211c80319c
  check "install.sh --jaeger v1 succeeds" "$install" --jaeger v1 /jaeger/v1
  check "Jaeger's UI answers" until_ 30 curl -fsS http://127.0.0.1:16686/
  check "a span is taken at 4318" post "$(span $trace)"
  check "the span is in Jaeger" until_ 60 get $trace
  check "Jaeger runs as its own user" is User jaeger jaeger-v1
  check "Jaeger starts again" systemctl restart jaeger-v1
  check "the span is in Jaeger after its restart" until_ 30 get $trace
fi

from_package() { "$install" && is ActiveState active && is Type notify && accepts 4317 && logged "Everything is ready" && command_line; }
check "install.sh from a checkout runs by this machine's node" from_package

without_notify() {
  local notify
  notify=$(command -v systemd-notify)
  mv "$notify" /usr/local/moved-notify && hash -r
  installed && is Type exec && is ActiveState active && until_ 10 accepts 4317
  local code=$?
  mv /usr/local/moved-notify "$notify"
  return $code
}
check "without systemd-notify the unit is Type=exec" without_notify

stopped() { systemctl stop omnishim && is Result success && logged "Shutdown complete"; }
check "systemctl stop ends it in order" stopped
gone() {
  "$install" --uninstall && "$install" --uninstall && [ -e /etc/omnishim/omnishim.env ] && [ -d /var/lib/omnishim ] &&
    ! ls -d /opt/omnishim /usr/local/bin/omnishim /etc/systemd/system/omnishim.service* /etc/systemd/system/multi-user.target.wants/omnishim.service /etc/tmpfiles.d/omnishim.conf 2>/dev/null
}
check "install.sh --uninstall takes all away but settings and data, also twice" gone
exit $failed
