# shellcheck shell=bash
# Sourced by start-ovs.sh: where the tunnels of this node end.
# TUNNEL_NIC  the NIC that br-phy takes over (netdev only, else empty)      ENCAP_IP  the tunnels' address
# ADDRESSES   with prefix length, of TUNNEL_NIC or of br-phy, which keeps them in its external_ids: after the first start
#             they are no longer on the NIC, and after a reboot not on br-phy
TUNNEL_NIC="" ENCAP_IP="" ADDRESSES=()

matching_nic() { # the first NIC that IFACE names
  local pattern name
  IFS=, read -ra patterns <<<"$IFACE"
  for pattern in "${patterns[@]}"; do
    for name in /sys/class/net/*; do
      name=${name##*/}
      if [[ $name =~ ^($pattern)$ ]]; then
        echo "$name"
        return 0
      fi
    done
  done
  log "no NIC matches IFACE=$IFACE; there are: $(ls -x -w 0 /sys/class/net)"
  return 1
}
addresses_of() { # global addresses with prefix length, IPv4 first
  ip -4 -o address show dev "$1" scope global | awk '{print $4}'
  ip -6 -o address show dev "$1" scope global | awk '{print $4}'
}
kept() { vsctl --if-exists get Bridge br-phy "external_ids:$1" 2>/dev/null | tr -d '"'; }

find_tunnel() {
  local nic
  if [ -z "$IFACE" ]; then
    [ "$DATAPATH_TYPE" = system ] || {
      log "DATAPATH_TYPE=netdev needs IFACE: a NIC of its own for the tunnels, because the switch takes it over"
      return 1
    }
    ENCAP_IP=${POD_IPS%%,*}
    [ -n "$ENCAP_IP" ] || {
      log "neither IFACE nor POD_IPS names an address for the tunnels"
      return 1
    }
    return 0
  fi
  nic=$(matching_nic) || return 1
  mapfile -t ADDRESSES < <(addresses_of "$nic")
  if [ "$DATAPATH_TYPE" = netdev ]; then
    TUNNEL_NIC=$nic
    if [ -n "$(ip route show default dev "$nic")$(ip -6 route show default dev "$nic")" ]; then
      log "the default route leaves by $nic: were the switch to take it over, a dead ovs-vswitchd would cut off the node; IFACE must be another NIC"
      return 1
    fi
    ((${#ADDRESSES[@]})) || IFS=' ' read -ra ADDRESSES <<<"$(kept addresses)"
  fi
  ((${#ADDRESSES[@]})) || {
    log "$nic has no address for the tunnels"
    return 1
  }
  ENCAP_IP=${ADDRESSES[0]%/*}
}

make_br_phy() {
  local routes
  routes=$(ip route show dev "$TUNNEL_NIC" | grep -v 'proto kernel' | tr '\n' ';')
  [ -n "$routes" ] || routes=$(kept routes)
  vsctl --may-exist add-br br-phy -- set Bridge br-phy datapath_type=netdev fail_mode=standalone external_ids:vendor=kube-ovn \
    external_ids:nic="$TUNNEL_NIC" external_ids:addresses="\"${ADDRESSES[*]}\"" external_ids:routes="\"$routes\"" \
    -- --may-exist add-port br-phy "$TUNNEL_NIC" \
    -- set Interface br-phy mtu_request="$(<"/sys/class/net/$TUNNEL_NIC/mtu")" # by itself br-phy stays at 1500, and pods get 100 less
}

take_addresses() { # take_addresses PID: the addresses and routes of the NIC move to br-phy, each time the switch starts
  local address route words
  until [ -e /sys/class/net/br-phy ]; do
    kill -0 "$1" 2>/dev/null || return 1
    sleep 0.02
  done
  ip address flush dev "$TUNNEL_NIC" scope global
  ip link set "$TUNNEL_NIC" up
  for address in "${ADDRESSES[@]}"; do
    if [[ $address == *:* ]]; then ip address replace "$address" dev br-phy nodad; else ip address replace "$address" dev br-phy; fi
  done
  ip link set br-phy up
  # What leaves a tap with an unfinished checksum is sent unfinished by the userspace datapath.
  ethtool -K br-phy tx off >/dev/null 2>&1 || true
  while IFS= read -r -d ';' route; do
    IFS=' ' read -ra words <<<"$route"
    ((${#words[@]} == 0)) || ip route replace "${words[@]}" dev br-phy
  done <<<"$(kept routes)"
}
