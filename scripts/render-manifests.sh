#!/usr/bin/env bash
# Renders the chart with its defaults into deploy/manifests. --check: says whether that has been done.
set -euo pipefail
cd "$(dirname "$0")/.."
file=deploy/manifests/10-weft.yaml
rendered=$(mktemp)
trap 'rm -f "$rendered"' EXIT
{
  echo "# Rendered from deploy/chart/weft by scripts/render-manifests.sh: change it there."
  # Hooks and custom resources have no place here: the first are Helm's, the second in deploy/crds.
  build/kube/helm template weft deploy/chart/weft --namespace istio-system --no-hooks 2> /dev/null
} > "$rendered"
if [ "${1:-}" != --check ]; then
  cp "$rendered" "$file"
elif ! diff -u "$file" "$rendered"; then
  echo "$file is not what the chart renders to: run scripts/render-manifests.sh" >&2
  exit 1
fi
