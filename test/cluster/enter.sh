#!/usr/bin/env bash
# Runs a command on a machine: enter.sh hub kubectl get nodes
set -euo pipefail
# shellcheck source=test/cluster/common.sh
. "$(dirname "$0")/common.sh"
machine=$1
shift
export KUBECONFIG=$state/admin.kubeconfig
inside "$machine" "$@"
