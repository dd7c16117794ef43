#!/usr/bin/env bash
# messages.sh [--check]: writes the Python of our .proto files; --check says whether what is there is what they say.
set -euo pipefail
cd "$(dirname "$0")/../cache"
room=forebay_cache/csi/wire

write() { ../.venv/bin/python -m grpc_tools.protoc -I. --python_out="$1" --pyi_out="$1" "$room"/*.proto; }

if [ "${1:-}" != --check ]; then write .; exit; fi
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
write "$made"
for file in "$made/$room"/*; do
  cmp -s "$file" "$room/$(basename "$file")" || { echo "$room is not what its .proto files say: run 'make gen'"; exit 1; }
done
