#!/bin/bash
# ovs-ovn: the node's Open vSwitch database, the switch, and ovn-controller.
#
# NODE_NAME, POD_IPS (the node's addresses), NODE_IPS (members of ovn-central), ENABLE_SSL
# DATAPATH_TYPE  system: the kernel's module; netdev: userspace. Then br-phy takes over the tunnel NIC and its addresses, because
#                the userspace datapath sends its tunnels only by a bridge of its own.
# IFACE          the NIC of the tunnels, a name or regular expressions, comma separated; empty: the node's own address is used
# TUNNEL_TYPE, OVN_REMOTE_PROBE_INTERVAL (ms), OVN_REMOTE_OPENFLOW_INTERVAL (s)
set -uo pipefail
cd "$(dirname "$0")" || exit 1
: "${NODE_NAME:?NODE_NAME must name the node}" "${NODE_IPS:?NODE_IPS must name the members of ovn-central}"
DATAPATH_TYPE=${DATAPATH_TYPE:-system} IFACE=${IFACE:-}
R=/run/openvswitch C=/etc/openvswitch
. ./keeper.sh
. ./tunnel.sh

case $DATAPATH_TYPE in
netdev) ;;
system)
  modprobe -a openvswitch geneve vxlan 2>/dev/null || true
  [ -e /sys/module/openvswitch ] || {
    log "this kernel has no openvswitch module: load it, or install with networking.DATAPATH_TYPE=netdev and networking.IFACE"
    exit 1
  }
  ;;
*)
  log "DATAPATH_TYPE is $DATAPATH_TYPE; valid are system, netdev"
  exit 1
  ;;
esac
mkdir -p $R $C /run/ovn
rm -f $R/*.mgmt $R/*.snoop $R/*.ctl /run/ovn/*.ctl
[ -s $C/conf.db ] || { rm -f $C/conf.db && ovsdb-tool create $C/conf.db /usr/share/openvswitch/vswitch.ovsschema; } || exit 1
# Of the node's name: with an empty disk it is the same chassis again. Another one could not have the tunnels' address, which the old one holds.
[ -s $C/system-id.conf ] || python3 -c 'import sys, uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, "ovnloom/chassis/" + sys.argv[1]))' "$NODE_NAME" >$C/system-id.conf

vsctl() { ovs-vsctl --no-wait -t 10 "$@"; }

prepare_database() { rm -f $R/db.sock; }
run_database() { exec ovsdb-server "${LOGGING[@]}" --pidfile --overwrite-pidfile --remote=punix:$R/db.sock $C/conf.db; }
stop_database() { ovs-appctl -T 2 -t ovsdb-server exit >/dev/null 2>&1 || kill -TERM "$1" 2>/dev/null; }

STARTED="" AGAIN=""
prepare_switch() {
  rm -f $R/*.mgmt $R/*.snoop # stale sockets look as if the switch were there
  AGAIN=$STARTED STARTED=1
}
run_switch() { exec ovs-vswitchd "${LOGGING[@]}" --pidfile --overwrite-pidfile unix:$R/db.sock; }
started_switch() {
  [ -z "$TUNNEL_NIC" ] || take_addresses "$1"
  [ -n "$AGAIN" ] || return 0
  # A new switch has no flows. A fresh ovn-controller connects at once, the old one waits out a back-off of a second.
  await "$1" $R/br-int.mgmt && kill -KILL "$(cat /run/ovn/ovn-controller.pid)" 2>/dev/null
}
stop_switch() { ovs-appctl -T 2 -t ovs-vswitchd exit >/dev/null 2>&1 || kill -TERM "$1" 2>/dev/null; }

prepare_controller() {
  until [ -S $R/br-int.mgmt ]; do
    [ -z "$stopping" ] || return 1
    pause 0.02
  done
}
run_controller() { exec ovn-controller "${LOGGING[@]}" "${TLS[@]}" --pidfile --overwrite-pidfile unix:$R/db.sock; }
# The chassis and the flows stay: the next pod takes them over.
stop_controller() { ovn-appctl -T 3 -t "/run/ovn/ovn-controller.$(cat /run/ovn/ovn-controller.pid).ctl" exit --restart >/dev/null 2>&1 || kill -TERM "$1" 2>/dev/null; }

await() { # await PID SOCKET: false if the process ended instead
  until [ -S "$2" ]; do
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.02
  done
}

declare -A keeper=()
start() {
  keep "$1" &
  keeper[$1]=$!
}
finish() { # finish STATUS: an orderly end, the database last
  trap '' TERM INT
  for name in controller switch database; do
    [ -n "${keeper[$name]:-}" ] || continue
    kill -TERM "${keeper[$name]}" 2>/dev/null
    wait "${keeper[$name]}"
  done
  exit "$1"
}
trap 'finish 0' TERM INT
start database
until ovs-vsctl --no-wait -t 2 init 2>/dev/null; do sleep 0.05; done
find_tunnel || finish 1
vsctl set Open_vSwitch . external_ids:system-id="$(cat $C/system-id.conf)" external_ids:hostname="$NODE_NAME" \
  external_ids:ovn-remote="\"$(remotes 6642)\"" external_ids:ovn-encap-type="${TUNNEL_TYPE:-geneve}" external_ids:ovn-encap-ip="\"$ENCAP_IP\"" \
  external_ids:ovn-bridge-datapath-type="$DATAPATH_TYPE" external_ids:ovn-remote-probe-interval="${OVN_REMOTE_PROBE_INTERVAL:-10000}" \
  external_ids:ovn-openflow-probe-interval="${OVN_REMOTE_OPENFLOW_INTERVAL:-180}" external_ids:ovn-match-northd-version=true \
  external_ids:ovn-monitor-all=true || finish 1
vsctl --may-exist add-br br-int -- set Bridge br-int datapath_type="$DATAPATH_TYPE" fail_mode=secure external_ids:vendor=kube-ovn || finish 1
[ -z "$TUNNEL_NIC" ] || make_br_phy || finish 1
start switch
start controller
wait -n "${keeper[@]}"
log "a keeper ended, which must not happen; ending the container"
finish 1
