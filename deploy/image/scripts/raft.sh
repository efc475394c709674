# shellcheck shell=bash
# Sourced by start-db.sh: which database file a member starts with. What NB holds is rendered again from the API, and SB from NB,
# so a file that no server can read is put aside, never mended by hand.
DB_DIR=${DB_DIR:-/etc/ovn}
RUN_DIR=${RUN_DIR:-/run/ovn}
SCHEMA_DIR=${SCHEMA_DIR:-/usr/share/ovn}

NO_CLUSTER=00000000-0000-0000-0000-000000000000

schema_of() { if [ "$1" = nb ]; then echo OVN_Northbound; else echo OVN_Southbound; fi; }
raft_address() { # raft_address nb|sb ADDRESS
  local port=6643
  [ "$1" = nb ] || port=6644
  echo "$PROTOCOL:$(bracket "$2"):$port"
}
others() {
  local address
  for address in "${MEMBERS[@]}"; do [ "$address" = "$ME" ] || echo "$address"; done
}
archive() { # archive FILE REASON
  local aside
  aside=$1.backup-$(date -u +%Y%m%d%H%M%S)-$RANDOM
  mv "$1" "$aside" || return 1
  rm -f "$(dirname "$1")/.$(basename "$1").~lock~"
  log "$2: kept as $aside"
}

database_of() { # database_of nb|sb ADDRESS: the row of the database in that member's _Server, or nothing if it does not answer
  local port=6641 schema
  [ "$1" = nb ] || port=6642
  schema=$(schema_of "$1")
  ovsdb-client "${TLS[@]}" -t 3 query "$PROTOCOL:$(bracket "$2"):$port" \
    "[\"_Server\",{\"op\":\"select\",\"table\":\"Database\",\"where\":[[\"name\",\"==\",\"$schema\"]],\"columns\":[\"cid\",\"connected\",\"leader\"]}]" 2>/dev/null
}
cluster_elsewhere() { # cluster_elsewhere nb|sb -> none | leaderless | led
  local address row state=none
  for address in $(others); do
    row=$(database_of "$1" "$address") || continue
    # a standalone one has no cluster; a member that waits to join does not know its cluster yet
    [[ $row == *'"cid":["uuid",'* && $row != *"$NO_CLUSTER"* ]] || continue
    if [[ $row == *'"connected":true'* ]]; then
      echo led
      return
    fi
    state=leaderless
  done
  echo $state
}

broken() { # broken FILE: no server can start with it
  if ovsdb-tool db-is-clustered "$1" 2>/dev/null; then ! ovsdb-tool check-cluster "$1" >/dev/null 2>&1
  elif ovsdb-tool db-is-standalone "$1" 2>/dev/null; then ! ovsdb-tool query "$1" "[\"$(ovsdb-tool db-name "$1")\"]" >/dev/null 2>&1
  else true; fi
}

prepare_db() { # prepare_db nb|sb
  local file=$DB_DIR/ovn${1}_db.db
  if [ -e "$file" ] && [ ! -s "$file" ]; then archive "$file" "$file is empty"; fi
  if [ -e "$file" ] && ! ovsdb-tool db-name "$file" >/dev/null 2>&1; then archive "$file" "$file is not a database"; fi
  # a server that ended at once may have met damage further inside
  if [ -e "$file" ] && ((${LIVED:-9} < 2)) && broken "$file"; then archive "$file" "$file is damaged"; fi
  if ((${#MEMBERS[@]} == 1)); then single "$1" "$file"; else member "$1" "$file"; fi
}

single() { # one member: a standalone file
  if [ ! -e "$2" ]; then
    ovsdb-tool create "$2" "$SCHEMA_DIR/ovn-$1.ovsschema"
  elif ovsdb-tool db-is-clustered "$2"; then # there were more members
    archive "$2" "one member is left, its file becomes a standalone one" || return 1
    ovsdb-tool cluster-to-standalone "$2" "$(newest_backup "$2")"
  fi
}
newest_backup() { find "$(dirname "$1")" -name "$(basename "$1").backup-*" -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2-; }

member() { # one of several members: a Raft file
  local contents="$SCHEMA_DIR/ovn-$1.ovsschema" own
  own=$(raft_address "$1" "$ME")
  if [ -e "$2" ]; then
    if ovsdb-tool db-is-standalone "$2"; then # there was one member: the first keeps its contents
      archive "$2" "there are ${#MEMBERS[@]} members now, the standalone file becomes a Raft one" || return 1
      [ "$ME" != "${MEMBERS[0]}" ] || contents=$(newest_backup "$2")
    elif [ "$(ovsdb-tool db-local-address "$2")" != "$own" ]; then
      archive "$2" "its member had the address $(ovsdb-tool db-local-address "$2"), this one has $own" || return 1
    else
      return 0
    fi
  fi
  if [ "$ME" = "${MEMBERS[0]}" ]; then
    case $(cluster_elsewhere "$1") in
    none)
      log "$1: no other member has a cluster: creating it"
      ovsdb-tool --election-timer="${ELECTION_TIMER:-5000}" create-cluster "$2" "$contents" "$own"
      return
      ;;
    leaderless)
      log "$1: the other members have a cluster without a leader; waiting, for a second cluster beside it would lose theirs"
      return 1
      ;;
    esac
  fi
  local address remote=()
  for address in $(others); do remote+=("$(raft_address "$1" "$address")"); done
  log "$1: joining by ${remote[*]}"
  ovsdb-tool join-cluster "$2" "$(schema_of "$1")" "$own" "${remote[@]}"
}

# A member that lost its file joins under a new identity; the old one would count towards the majority for ever.
forget_former_self() { # forget_former_self nb|sb
  ((${#MEMBERS[@]} > 1)) || return 0
  local control=$RUN_DIR/ovn${1}_db.ctl schema line id
  schema=$(schema_of "$1")
  while read -r line; do
    [[ $line == *" at $(raft_address "$1" "$ME"))"* && $line != *"(self)"* ]] || continue
    id=${line%% *}
    log "$1: removing this member's former identity $id"
    ovs-appctl -T 10 -t "$control" cluster/kick "$schema" "$id"
  done < <(ovs-appctl -T 5 -t "$control" cluster/status "$schema")
}
