# shellcheck shell=bash disable=SC2034
# Sourced by start-db.sh and start-ovs.sh: each daemon has a keeper of its own, so that one that ends is started again alone
# and the others stay. For a daemon NAME the sourcing script defines
#   prepare_NAME   before each start; a failure is tried again a second later
#   run_NAME       execs the daemon in the foreground
#   started_NAME   after each start, in the background (optional)
#   stop_NAME PID  the orderly end

log() { printf '%s|%s|%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${0##*/}" "$*" >&2; }
defined() { declare -F "$1" >/dev/null; }
pause() { # a sleep that a trap can cut short
  sleep "$1" &
  wait $! || true
}

keep() { # keep NAME: blocks until TERM
  local name=$1 child="" stopping="" began status
  trap 'stopping=1; [ -z "$child" ] || "stop_$name" "$child"' TERM
  while [ -z "$stopping" ]; do
    if defined "prepare_$name" && ! "prepare_$name"; then
      [ -n "$stopping" ] || pause 1
      continue
    fi
    began=$SECONDS
    (
      trap - TERM
      "run_$name"
    ) &
    child=$!
    if defined "started_$name"; then "started_$name" "$child" & fi
    status=0
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child" || status=$?; done # a trap interrupts wait
    child=""
    [ -z "$stopping" ] || break
    log "$name ended with status $status after $((SECONDS - began)) s; starting it again"
    LIVED=$((SECONDS - began))
    if ((LIVED < 2)); then pause 1; else pause 0.05; fi
  done
}

# The addresses of the databases, for clients: remotes PORT -> "ssl:10.0.0.1:6642,ssl:…"
bracket() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }
remotes() {
  local address list=""
  for address in "${MEMBERS[@]}"; do list+=",$PROTOCOL:$(bracket "$address"):$1"; done
  echo "${list#,}"
}

# ENABLE_SSL, NODE_IPS -> PROTOCOL, TLS (arguments of OVS and OVN programs), MEMBERS
TLS_DIR=${TLS_DIR:-/var/run/tls}
PROTOCOL=tcp
TLS=()
if [ "${ENABLE_SSL:-false}" = true ]; then
  PROTOCOL=ssl
  TLS=("--private-key=$TLS_DIR/key" "--certificate=$TLS_DIR/cert" "--ca-cert=$TLS_DIR/cacert")
  for file in key cert cacert; do
    [ -r "$TLS_DIR/$file" ] || {
      log "ENABLE_SSL is true, but $TLS_DIR/$file cannot be read: is the Secret kube-ovn-tls there, with cacert, cert and key?"
      exit 1
    }
  done
fi
IFS=, read -ra MEMBERS <<<"${NODE_IPS:-${POD_IP:-}}"
LOGGING=(-vconsole:info -vsyslog:off "-vPATTERN:console:%D{%Y-%m-%dT%H:%M:%SZ}|%A|%c|%p|%m")
