#!/bin/bash
# Puts the CNI binary on the node (CNI_BIN_DIR, /opt/cni/bin). The configuration is written by the agent, once it can serve.
set -eu
source=${CNI_SOURCE:-/kube-ovn/bin} target=${CNI_BIN_DIR:-/opt/cni/bin}
mkdir -p "$target"
put() { # in one step, so that a running kubelet never finds half a file
  cp "$1" "$target/.$2.new"
  chmod 0755 "$target/.$2.new"
  mv -f "$target/.$2.new" "$target/$2"
  echo "installed $target/$2"
}
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
for shim in "$source/kube-ovn-$architecture" "$source/kube-ovn" "$source/kube-ovn.py"; do # the twin in Python serves any other machine
  [ -e "$shim" ] && break
done
[ -e "$shim" ] || {
  echo "no CNI binary for $architecture in $source" >&2
  exit 1
}
put "$shim" kube-ovn
for plugin in loopback portmap; do # the node's own are kept
  if [ ! -e "$target/$plugin" ] && [ -e "$source/$plugin" ]; then put "$source/$plugin" "$plugin"; fi
done
