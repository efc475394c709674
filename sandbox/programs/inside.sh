#!/bin/sh
# inside.sh ROOT SCRATCH FOLDER MOUNT... -- COMMAND...: runs COMMAND in FOLDER; its root folder is ROOT under a layer in memory, with
# each MOUNT at its own path. To be started in a mount namespace of its own: nothing is unmounted here.
set -eu
root=$1 scratch=$2 folder=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$scratch/root"
in=$scratch/root
mount -t proc proc "$in/proc"
mount --rbind /dev "$in/dev"
while [ "$1" != -- ]; do
  mkdir -p "$in$1"
  mount --bind "$1" "$in$1"
  shift
done
shift
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
  [ ! -e "$file" ] || cp -L "$file" "$in$file"
done
exec chroot "$in" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
