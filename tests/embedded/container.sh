#!/usr/bin/env bash
# `container.sh HOME PROGRAM [ARGUMENT...]`, in namespaces of its own: see container.py, which says with what it is called.
set -eu
home=$1
shift

mount -t tmpfs -o size=1m,mode=755 tmpfs "$home"
mount -o remount,ro "$home"

# What the tests are made of may lie in /tmp, which is about to be another one.
descriptors=()
read -r -a kept <<< "$KEPT"
for folder in "${kept[@]}"; do
    exec {descriptor}< "$folder"
    descriptors+=("$descriptor")
done
mount -t tmpfs -o "size=${TMP_MB}m,mode=1777" tmpfs /tmp
for index in "${!kept[@]}"; do
    mkdir -p "${kept[$index]}"
    mount --no-canonicalize --bind "/proc/self/fd/${descriptors[$index]}" "${kept[$index]}"
    descriptor=${descriptors[$index]}
    exec {descriptor}<&-
done
unset KEPT
mkdir -p "$SMALL_DISK"
mount -t tmpfs -o "size=${SMALL_DISK_MB}m,mode=1777" small "$SMALL_DISK"
unset SMALL_DISK_MB

cd "$ROOT"
ulimit -n "$OPEN_FILES"
exec unshare --user "--map-user=$CONTAINER_UID" "--map-group=$CONTAINER_UID" -- "$@"
