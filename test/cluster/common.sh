# shellcheck shell=bash disable=SC2034
# Names and small functions that up.sh, down.sh, machine.sh and enter.sh share. Read with `.`.
# A machine is `hub` (the bridge, etcd and the control plane) or `node1`, `node2`: one process tree in namespaces of its own.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# WEFT_CLUSTER: where a cluster keeps what it writes; several may run side by side.
state=${WEFT_CLUSTER:-$root/build/kube/state}
images=$root/build/kube/images
export PATH=$root/build/kube/cluster-bin:$PATH:/usr/sbin:/sbin
export hub_ip=10.197.0.1
node_ip() { echo "10.197.0.1${1#node}"; }
pod_net() { echo "10.244.${1#node}.0/24"; }
nodes="node1 node2"

fail() { echo "cluster: $*" >&2; exit 1; }

# A process id may be another process's by now; together with its start time it is not.
birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { echo "$2 $(birth "$2")" > "$state/$1.pid"; }
living() {
  local pid born
  [ -e "$state/$1.pid" ] && read -r pid born < "$state/$1.pid" && [ -n "$born" ] && [ "$(birth "$pid")" = "$born" ] && echo "$pid"
}
inside() {
  local pid
  pid=$(living "$1") || fail "$1 is not running"
  shift
  nsenter --target "$pid" --mount --uts --ipc --net --pid -- "$@"
}
