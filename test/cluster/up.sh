#!/usr/bin/env bash
# Brings up a Kubernetes of two nodes on this machine, in namespaces: the host's own network is not touched.
# Does nothing for what already runs. Needs root, and `make -C test/cluster cluster images`.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || fail "needs root"
mkdir -p "$state/log"

token() { # NAME USER GROUP: an account of the API server, and a kubeconfig for it
  local secret
  secret=$(cat /proc/sys/kernel/random/uuid)
  echo "$secret,$2,$2,$3" >> "$state/tokens.csv"
  echo "$secret" > "$state/$1.token"
}

kubeconfig() { # NAME
  cat > "$state/$1.kubeconfig" <<END
{apiVersion: v1, kind: Config, current-context: weft-test,
 contexts: [{name: weft-test, context: {cluster: weft-test, user: $1}}],
 clusters: [{name: weft-test, cluster: {server: "https://$hub_ip:6443", certificate-authority: "$state/certs/apiserver.crt"}}],
 users: [{name: $1, user: {token: "$(cat "$state/$1.token")"}}]}
END
}

if [ ! -e "$state/accounts.key" ]; then
  install -m 600 /dev/null "$state/tokens.csv"
  token admin admin system:masters
  token kube-controller-manager system:kube-controller-manager ""
  token kube-scheduler system:kube-scheduler ""
  token kube-proxy system:kube-proxy ""
  for node in $nodes; do token "$node" "system:node:$node" system:nodes; done
  for file in "$state"/*.token; do kubeconfig "$(basename "$file" .token)"; done
  openssl ecparam -name prime256v1 -genkey -noout -out "$state/accounts.key"
fi

# A cgroup for each machine, so that nodes count and limit on their own; in each hierarchy, where version 1 and 2 are mounted side by side.
own_cgroups() { # MACHINE
  local hierarchy mount file
  : > "$state/$1.cgroups"
  while IFS=: read -r _ hierarchy _; do
    mount=/sys/fs/cgroup/${hierarchy#name=}
    if [ -z "$hierarchy" ]; then mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts); fi
    [ -e "$mount/cgroup.procs" ] || continue
    mount=$mount/weft-cluster-$1
    mkdir -p "$mount"
    if [ "$hierarchy" = cpuset ]; then
      for file in cpuset.cpus cpuset.mems; do cat "$mount/../$file" > "$mount/$file"; done
    fi
    echo "$mount" >> "$state/$1.cgroups"
  done < /proc/self/cgroup
}

start() { # MACHINE
  local outer pid
  own_cgroups "$1"
  (
    while read -r group; do echo "$BASHPID" > "$group/cgroup.procs"; done < "$state/$1.cgroups"
    exec setsid unshare --mount --uts --ipc --net --pid --fork --mount-proc --propagation private \
      "$here/machine.sh" "$1" < /dev/null >> "$state/log/$1.log" 2>&1
  ) &
  outer=$!
  until pid=$(cat "/proc/$outer/task/$outer/children" 2> /dev/null) && [ -n "$pid" ]; do
    kill -0 "$outer" 2> /dev/null || fail "$1 ended at once: see $state/log/$1.log"
    sleep 0.05
  done
  remember "$1" "${pid% }"
}

plug() { # NODE: a cable from it to the hub
  local hub
  hub=$(living hub)
  nsenter --target "$hub" --net ip link add "$1" type veth peer name eth0 netns "$(living "$1")"
  nsenter --target "$hub" --net ip link set "$1" master nodes up
}

living hub > /dev/null || start hub
for _ in $(seq 240); do inside hub kubectl --kubeconfig "$state/admin.kubeconfig" get --raw /readyz > /dev/null 2>&1 && break; sleep 0.5; done
for node in $nodes; do
  if ! living "$node" > /dev/null; then
    start "$node"
    plug "$node"
  fi
done
kubectl() { inside hub kubectl --kubeconfig "$state/admin.kubeconfig" "$@"; }
for node in $nodes; do
  for _ in $(seq 240); do kubectl get node "$node" > /dev/null 2>&1 && break; sleep 0.5; done
done
kubectl wait --for=condition=Ready --timeout=180s node --all > /dev/null
kubectl apply --server-side -f "$here/dns.yaml" > /dev/null
kubectl -n kube-system rollout status deployment/coredns --timeout=180s > /dev/null
kubectl get nodes -o wide
echo "try: $here/enter.sh hub kubectl get pods -A"
