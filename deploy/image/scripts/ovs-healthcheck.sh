#!/bin/bash
# ovs-healthcheck.sh ready|live: live = ovs-vswitchd answers; ready = the integration bridge speaks OpenFlow and ovn-controller answers too.
# Neither asks the southbound database: without it the flows that are there go on.
set -u
fail() {
  echo "$*"
  exit 1
}
ovs-appctl -T 3 -t ovs-vswitchd version >/dev/null 2>&1 || fail "ovs-vswitchd does not answer"
[ "${1:-ready}" = live ] && exit 0
ovs-ofctl -t 3 -O OpenFlow15 dump-desc br-int >/dev/null 2>&1 || ovs-ofctl -t 3 -O OpenFlow15 show br-int >/dev/null 2>&1 || fail "br-int does not answer"
ovn-appctl -T 3 -t "/run/ovn/ovn-controller.$(cat /run/ovn/ovn-controller.pid 2>/dev/null).ctl" version >/dev/null 2>&1 || fail "ovn-controller does not answer"
