#!/usr/bin/env bash
# Ends the cluster as if all plugs were pulled, and forgets it.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
. "$(dirname "$0")/common.sh"
for machine in $nodes hub; do
  if pid=$(living "$machine"); then
    # Process 1 of its pid namespace: all others, mounts and links go with it.
    kill -KILL "$pid"
    while [ -n "$(living "$machine" || true)" ]; do sleep 0.05; done
  fi
  [ -e "$state/$machine.cgroups" ] || continue
  while read -r group; do
    for _ in $(seq 100); do
      # The kernel is not through with every process yet.
      find "$group" -depth -type d -exec rmdir {} \; 2> /dev/null || true
      [ ! -d "$group" ] || sleep 0.1
      [ -d "$group" ] || break
    done
  done < "$state/$machine.cgroups"
done
rm -rf "$state"
