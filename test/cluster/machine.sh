#!/usr/bin/env bash
# Process 1 of a machine; up.sh has put it into its namespaces and cgroups.
set -euo pipefail
# shellcheck source=test/cluster/common.sh
. "$(dirname "$0")/common.sh"
machine=$1
log=$state/log/$machine
disk=$state/disk/$machine
mkdir -p "$log" "$disk"
hostname "$machine"
ip link set lo up
mount --make-rshared /

run() { # NAME COMMAND...: for ever
  (
    while :; do
      "${@:2}" >> "$log/$1.log" 2>&1 < /dev/null || true
      echo "--- $1 ended $(date +%T) ---" >> "$log/$1.log"
      sleep 1
    done
  ) &
}

routes() { # to the pods of the nodes, but not of this one
  local node
  for node in $nodes; do
    [ "$node" = "$machine" ] || ip route add "$(pod_net "$node")" via "$(node_ip "$node")"
  done
}

hub() {
  ip link add nodes type bridge
  ip addr add "$hub_ip/24" dev nodes
  ip link set nodes up
  routes
  run etcd etcd --name hub --data-dir "$disk/etcd" --unsafe-no-fsync --log-level warn
  run kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$hub_ip" --cert-dir="$state/certs" \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --token-auth-file="$state/tokens.csv" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$state/accounts.key" --service-account-signing-key-file="$state/accounts.key"
  until [ -s "$state/certs/apiserver.crt" ]; do sleep 0.1; done
  run kube-controller-manager kube-controller-manager --kubeconfig="$state/kube-controller-manager.kubeconfig" --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file="$state/accounts.key" --root-ca-file="$state/certs/apiserver.crt"
  run kube-scheduler kube-scheduler --kubeconfig="$state/kube-scheduler.kubeconfig" --leader-elect=false
}

# sysfs shows the devices of the network namespace that it is mounted in; the cgroups are the whole machine's.
mount_sys() {
  mkdir /run/cgroup
  mount --rbind /sys/fs/cgroup /run/cgroup
  mount -t sysfs sysfs /sys
  mount --rbind /run/cgroup /sys/fs/cgroup
  mount -t bpf -o mode=700 bpf /sys/fs/bpf
}

# The kubelet wants these of the whole kernel; they are not ours to set, so it finds them as it wants them.
pretend_sysctls() {
  local setting file
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=/run/sysctl-${setting//\//-}
    echo "${setting#*=}" > "${file%=*}"
    mount --bind "${file%=*}" "/proc/sys/${setting%=*}"
  done
}

node() {
  local path plugin
  mount -t tmpfs -o mode=755 tmpfs /run
  mount_sys
  pretend_sysctls
  for path in /var/lib/kubelet /var/lib/containerd /var/log/pods /var/log/containers /etc/cni /opt/cni /opt/containerd; do
    mkdir -p "$path" "$disk$path"
    mount --bind "$disk$path" "$path"
  done
  until ip link show eth0 > /dev/null 2>&1; do sleep 0.05; done
  ip addr add "$(node_ip "$machine")/24" dev eth0
  ip link set eth0 up
  ip route add default via "$hub_ip"
  routes
  echo 1 > /proc/sys/net/ipv4/ip_forward

  mkdir -p /opt/cni/bin /etc/cni/net.d
  for plugin in loopback bridge host-local portmap; do cp "/usr/lib/cni/$plugin" /opt/cni/bin/; done
  cat > /etc/cni/net.d/10-test.conflist <<END
{"cniVersion": "1.0.0", "name": "test", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/ipam", "ranges": [[{"subnet": "$(pod_net "$machine")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
END
  cat > "$disk/containerd.toml" <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "test.local/pause:1"
  restrict_oom_score_adj = true
END
  # There is no resolver above the cluster's own.
  echo "nameserver 127.0.0.1" > "$disk/resolv.conf"
  cat > "$disk/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /weft-cluster-$machine
failCgroupV1: false
failSwapOn: false
# Only this cluster can reach it.
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: $disk/resolv.conf
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi}
END
  cat > "$disk/kube-proxy.yaml" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $machine
clientConnection: {kubeconfig: $state/kube-proxy.kubeconfig}
clusterCIDR: 10.244.0.0/16
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
  run containerd containerd --config "$disk/containerd.toml"
  until ctr version > /dev/null 2>&1; do sleep 0.1; done
  for path in "$images"/*.tar; do ctr --namespace k8s.io images import "$path" >> "$log/images.log" 2>&1; done
  # As a service manager would, so that its probes can be told from other traffic of the node.
  kubelet_group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)/weft-cluster-$machine/kubelet
  mkdir -p "$kubelet_group"
  # shellcheck disable=SC2016 # for the inner shell
  run kubelet sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$kubelet_group" \
    kubelet --config="$disk/kubelet.yaml" --kubeconfig="$state/$machine.kubeconfig" --hostname-override="$machine" \
    --node-ip="$(node_ip "$machine")" --cert-dir=/var/lib/kubelet/pki
  run kube-proxy kube-proxy --config="$disk/kube-proxy.yaml"
}

case $machine in
  hub) hub ;;
  *) node ;;
esac
# Children of children that have ended are process 1's to take.
while :; do wait -n || sleep 1; done
