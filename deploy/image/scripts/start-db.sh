#!/bin/bash
# ovn-central: the northbound and southbound databases, northd, and the labels that tell who leads.
#
# NODE_IPS   addresses of all members, comma separated; more than one makes a Raft cluster
# POD_IP     this member's address among them; POD_IPS: every address to listen on
# ENABLE_SSL, ENABLE_BIND_LOCAL_IP (true), NB_PROBE_INTERVAL, SB_PROBE_INTERVAL (ms), OVN_NORTHD_PROBE_INTERVAL (ms),
# OVN_NORTHD_N_THREADS, ELECTION_TIMER (ms)
set -uo pipefail
cd "$(dirname "$0")" || exit 1
ME=${POD_IP:?POD_IP must name the address of this member}
NODE_IPS=${NODE_IPS:-$ME}
. ./keeper.sh
. ./raft.sh
[[ ,$NODE_IPS, == *,$ME,* ]] || {
  log "this member's address $ME is not in NODE_IPS=$NODE_IPS: set MASTER_NODES of the chart to the addresses of the nodes labelled kube-ovn/role=master"
  exit 1
}
mkdir -p "$DB_DIR" "$RUN_DIR"

listen_on() { # the addresses the databases listen on
  if [ "${ENABLE_BIND_LOCAL_IP:-true}" = true ]; then tr , '\n' <<<"${POD_IPS:-$ME}"
  elif [ -e /proc/net/if_inet6 ]; then echo ::
  else echo 0.0.0.0; fi
}

# Where to listen is this member's own affair, so it stands in a local database beside the replicated one.
local_config() { # local_config FILE PORT PROBE_MS
  local address operations="" names="" n=0
  for address in $(listen_on); do
    operations+="{\"op\":\"insert\",\"table\":\"Connection\",\"uuid-name\":\"c$n\",\"row\":{\"target\":\"p$PROTOCOL:$2:$(bracket "$address")\",\"inactivity_probe\":$3}},"
    names+=",[\"named-uuid\",\"c$n\"]"
    n=$((n + 1))
  done
  rm -f "$1" "$1"~* ".$1.~lock~"
  ovsdb-tool create "$1" /usr/share/openvswitch/local-config.ovsschema &&
    ovsdb-tool transact "$1" "[\"Local_Config\",$operations{\"op\":\"insert\",\"table\":\"Config\",\"row\":{\"connections\":[\"set\",[${names#,}]]}}]" >/dev/null
}

server() { # server nb|sb
  exec ovsdb-server "${LOGGING[@]}" "${TLS[@]}" --pidfile="$RUN_DIR/ovn$1_db.pid" --overwrite-pidfile --unixctl="$RUN_DIR/ovn$1_db.ctl" \
    --remote=punix:"$RUN_DIR/ovn$1_db.sock" --remote=db:Local_Config,Config,connections "$DB_DIR/ovn$1_db.db" "$RUN_DIR/local-$1.db"
}
orderly() { ovs-appctl -T 3 -t "$RUN_DIR/$1" exit >/dev/null 2>&1 || kill -TERM "$2" 2>/dev/null; } # a Raft leader hands over first

fresh() { rm -f "$RUN_DIR/ovn$1_db.ctl" "$RUN_DIR/ovn$1_db.sock"; } # what a killed server left answers nobody
prepare_nb() { fresh nb && prepare_db nb && local_config "$RUN_DIR/local-nb.db" 6641 "${NB_PROBE_INTERVAL:-180000}"; }
prepare_sb() { fresh sb && prepare_db sb && local_config "$RUN_DIR/local-sb.db" 6642 "${SB_PROBE_INTERVAL:-60000}"; }
run_nb() { server nb; }
run_sb() { server sb; }
started_nb() { settle nb "$1" && nb_options; }
started_sb() { settle sb "$1" && until ovn-sbctl --no-leader-only -t 5 --db="unix:$RUN_DIR/ovnsb_db.sock" init; do sleep 1; done; }
stop_nb() { orderly ovnnb_db.ctl "$1"; }
stop_sb() { orderly ovnsb_db.ctl "$1"; }

settle() { # settle nb|sb PID: once it serves, trim memory on compaction and forget what this member was before
  until [ -S "$RUN_DIR/ovn$1_db.ctl" ]; do
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.02
  done
  ovs-appctl -T 5 -t "$RUN_DIR/ovn$1_db.ctl" ovsdb-server/memory-trim-on-compaction on
  until ovsdb-client -t 10 wait "unix:$RUN_DIR/ovn$1_db.sock" "$(schema_of "$1")" connected 2>/dev/null; do kill -0 "$2" 2>/dev/null || return 1; done
  forget_former_self "$1"
}
nb_options() { # any member may write: a follower passes it on; writing what is there already changes nothing
  local nb=(ovn-nbctl --no-leader-only -t 5 --db="unix:$RUN_DIR/ovnnb_db.sock")
  until "${nb[@]}" init && "${nb[@]}" set NB_Global . options:use_logical_dp_groups=true \
    options:northd_probe_interval="${OVN_NORTHD_PROBE_INTERVAL:-5000}"; do sleep 1; done
}

prepare_northd() { # at the start of the pod: northd would wait out a back-off of a second
  until [ -S "$RUN_DIR/ovnnb_db.sock" ] && [ -S "$RUN_DIR/ovnsb_db.sock" ]; do
    [ -z "$stopping" ] || return 1
    pause 0.02
  done
}
run_northd() {
  local nb sb
  if ((${#MEMBERS[@]} == 1)); then nb=unix:$RUN_DIR/ovnnb_db.sock sb=unix:$RUN_DIR/ovnsb_db.sock; else nb=$(remotes 6641) sb=$(remotes 6642); fi
  exec ovn-northd "${LOGGING[@]}" "${TLS[@]}" --pidfile="$RUN_DIR/ovn-northd.pid" --overwrite-pidfile --unixctl="$RUN_DIR/ovn-northd.ctl" \
    --ovnnb-db="$nb" --ovnsb-db="$sb" --n-threads="${OVN_NORTHD_N_THREADS:-1}"
}
stop_northd() { ovs-appctl -T 3 -t "$RUN_DIR/ovn-northd.ctl" exit >/dev/null 2>&1 || kill -TERM "$1" 2>/dev/null; }
run_leader() { exec ovnloom leader --nb "unix:$RUN_DIR/ovnnb_db.sock" --sb "unix:$RUN_DIR/ovnsb_db.sock" --northd "$RUN_DIR/ovn-northd.ctl"; }
stop_leader() { kill -TERM "$1" 2>/dev/null; }

rm -f "$RUN_DIR"/*.ctl "$RUN_DIR"/*.sock
declare -A keeper=()
daemons=(nb sb northd)
[ -z "${POD_NAME:-}" ] || daemons+=(leader) # outside Kubernetes there is nothing to label
for name in "${daemons[@]}"; do
  keep "$name" &
  keeper[$name]=$!
done
stop() {
  trap '' TERM INT
  for name in leader northd sb nb; do # readers before what they read
    [ -n "${keeper[$name]:-}" ] || continue
    kill -TERM "${keeper[$name]}" 2>/dev/null
    wait "${keeper[$name]}"
  done
  exit 0
}
trap stop TERM INT
wait -n "${keeper[@]}"
log "a keeper ended, which must not happen; ending the container"
exit 1
