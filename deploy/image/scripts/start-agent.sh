#!/bin/bash
# kube-ovn-cni: the agent. Sysctls of pods and of ovn0 are its work; a container that is not privileged finds /proc/sys read-only.
set -eu
mount -o remount,rw,bind /proc/sys
exec ovnloom agent "$@"
