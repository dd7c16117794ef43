#!/usr/bin/env bash
# build.sh [--path]: builds Helm, with which the tests render the chart; --path only says where it is or would be.
# Some minutes from nothing, nothing once it is there. HELM names a program to use instead.
set -euo pipefail
cd "$(dirname "$0")"
version=4.3.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/forebay
built=$cache/helm-$version

say() { echo "helm: $*"; }

# the host's go, else the one the control plane was built with
find_go() {
  local go
  for go in "$(command -v go)" "$cache"/go-*/bin/go; do
    if [ -x "$go" ]; then echo "$go"; return; fi
  done
  say "no Go here: run e2e/controlplane/build.sh first, which installs one" >&2
  return 1
}

work=
build() {
  local go
  go=$(find_go)
  work=$(mktemp -d "$cache/building.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  say "building Helm $version with $("$go" env GOVERSION): minutes"
  GOBIN=$work CGO_ENABLED=0 GOFLAGS= nice -n 10 "$go" install -trimpath \
    -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=v$version" "helm.sh/helm/v4/cmd/helm@v$version"
  mkdir -p "$built"
  mv "$work/helm" "$built/helm"
  say "built in $SECONDS s: $built/helm"
}

if [ -n "${HELM:-}" ]; then
  [ "${1:-}" != --path ] || echo "$HELM"
  exit
fi
if [ "${1:-}" = --path ]; then echo "$built/helm"; exit; fi
[ -x "$built/helm" ] && exit
mkdir -p "$cache"
exec 9>"$cache/helm.lock"
flock 9 # two set-ups at once build it once
[ -x "$built/helm" ] || build
