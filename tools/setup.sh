#!/usr/bin/env bash
# setup.sh system|python|controlplane|lock: what `make setup` is made of. Each step does nothing when it is done already.
set -euo pipefail
cd "$(dirname "$0")/.."

# What each is for: python3-venv the environment; ceph a real S3 store for tests and demo; nginx, varnish, wrk, fio and iperf3
# the rivals and loads of bench/; erofs-utils the file system's own checker; gcc the compiled reader of bench/; prometheus and its
# alertmanager promtool and amtool, which judge rules and routes.
packages=(python3-venv ceph-mon ceph-osd ceph-mgr ceph-common radosgw nginx varnish wrk fio iperf3 iproute2 erofs-utils gcc libc6-dev
  prometheus prometheus-alertmanager)

system() {
  local missing=()
  command -v dpkg-query >/dev/null || { echo "setup: not a Debian system; install by hand: ${packages[*]}"; return; }
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] || { echo "setup: not root, so left out: ${missing[*]}; tests and demo say what they skip"; return; }
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # services that the packages bring must not start: tests and demo run their own
  printf '#!/bin/sh\nexit 101\n' > /tmp/forebay-policy-rc.d
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    install -m 755 /tmp/forebay-policy-rc.d /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

python() {
  echo "setup: the Python environment in .venv"
  [ -x .venv/bin/python ] || python3 -m venv .venv
  .venv/bin/python -m pip install -q --disable-pip-version-check uv
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install -q -c tools/constraints.txt --group dev -e .
  touch .venv/.installed
}

lock() {
  VIRTUAL_ENV=$PWD/.venv .venv/bin/uv pip install -q --upgrade --group dev -e .
  { echo "# What every clone installs, version by version: \`make lock\` takes the newest that pyproject.toml allows."
    .venv/bin/uv pip freeze -q -p .venv | grep -Ev '^(-e|forebay|pip=)'; } > tools/constraints.txt
}

controlplane() { e2e/controlplane/build.sh; }

"$@"
