#!/bin/bash
# ovn-healthcheck.sh ready|live: ready = both databases are served here and their Raft member is connected to a leader, northd answers;
# live = the processes answer, whatever the cluster's state: a restart would not bring a lost majority back.
set -u
RUN_DIR=${RUN_DIR:-/run/ovn}
fail() {
  echo "$*"
  exit 1
}
for daemon in ovnnb_db ovnsb_db ovn-northd; do
  ovs-appctl -T 3 -t "$RUN_DIR/$daemon.ctl" version >/dev/null 2>&1 || fail "$daemon does not answer"
done
[ "${1:-ready}" = live ] && exit 0
for database in nb:OVN_Northbound sb:OVN_Southbound; do
  ovsdb-client -t 2 wait "unix:$RUN_DIR/ovn${database%%:*}_db.sock" "${database#*:}" connected >/dev/null 2>&1 ||
    fail "${database#*:} is not connected: $(ovs-appctl -T 2 -t "$RUN_DIR/ovn${database%%:*}_db.ctl" cluster/status "${database#*:}" 2>&1 | grep -E '^(Status|Role|Leader)' | tr '\n' ' ')"
done
