# Shared by up, down, load-image and env: where things are, and how they are said.
# Everything the cluster makes stays below $state, or carries one of these names.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

state=${MIRRORD_CLUSTER_STATE:-/var/lib/mirrord-test-cluster}
cache=${MIRRORD_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mirrord-test-cluster}
kubeconfig=$state/admin.kubeconfig

node_name=mirrord-test
node_device=mrd-node0
node_address=10.202.0.1
pod_range=10.203.0.0/16
service_range=10.204.0.0/16
service_address=10.204.0.1
dns_address=10.204.0.10
api_port=16443
etcd_port=23790
kubelet_port=20250
metrics_port=20249
cgroup=mirrord-test-cluster
forward_chain=MIRRORD-TEST
cni_network=mirrord-test-cluster

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$1" >&2; shift; for line in "$@"; do printf '  %s\n' "$line" >&2; done; exit 1; }

# Which Kubernetes: the newest that is tested or, with MIRRORD_CLUSTER_KUBERNETES=oldest, the oldest
# that is promised. Without a word, the one that is there.
release=${MIRRORD_CLUSTER_KUBERNETES:-$(cat "$state/release" 2>/dev/null || printf newest)}
case $release in
  newest) kubernetes_version=1.34.4 modules=$here/kubernetes/go ;;
  oldest) kubernetes_version=1.30.14 modules=$here/kubernetes/oldest ;;
  *) die "MIRRORD_CLUSTER_KUBERNETES is \`$release\`" "it may be \`newest\` or \`oldest\`" ;;
esac

# The folder of the built binaries, named by what they are built from.
binaries() {
  local sources
  sources=$(cat "$modules.mod" "$modules.sum" "$here"/kubernetes/*.go "$here"/kubernetes/coredns/main.go | sha256sum | cut -c1-12)
  printf '%s/v%s-%s' "$cache" "$kubernetes_version" "$sources"
}

kubectl() { "$(binaries)/kubectl" --kubeconfig "$kubeconfig" "$@"; }
ctr() { command ctr --address "$state/containerd/containerd.sock" --namespace k8s.io "$@"; }

# process NAME: prints the id of the component if it is alive and is ours.
process() {
  local id
  id=$(cat "$state/run/$1.pid" 2>/dev/null) || return 1
  [ -n "$id" ] && grep -qaF "$state" "/proc/$id/cmdline" 2>/dev/null && printf '%s' "$id"
}

# wait_for SECONDS WHAT COMMAND…: asks until it holds, or says what did not.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
}

# The state folder is ours if we marked it; nothing else is ever removed.
mark=$state/made-by-mirrord-tests

# One caller at a time, `down` included; the lock outlives the state folder.
lock() {
  exec 9>"${TMPDIR:-/tmp}/mirrord-test-cluster.lock"
  flock 9
}

# Host settings that the kubelet and kube-proxy change, as /proc/sys paths.
host_settings="net/ipv4/ip_forward net/ipv4/conf/all/route_localnet vm/overcommit_memory vm/panic_on_oom
  kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
# Folders outside the state that they, containerd and the CNI plugins make.
host_folders="/var/lib/kubelet /var/lib/cni /opt/containerd /run/containerd /var/log/containers /var/log/pods"

require_linux_root() {
  [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] || die \
    "the test cluster needs Linux and root: it runs a kubelet, containers and iptables rules" \
    "elsewhere, set MIRRORD_TEST_KUBECONFIG to the kubeconfig of a cluster that may be tested on (kind, k3s)"
}
