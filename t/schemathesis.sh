#!/bin/bash
# Starts a gateway on a store of its own in a network of its own and runs schemathesis against its Admin API:
#   schemathesis.sh <program> <folder of schemathesis> <examples>
set -euo pipefail

program=$(realpath "$1")
tools=$(realpath "$2")
examples=$3

if [ -z "${INSIDE:-}" ]; then
  user=(); [ "$(id -u)" = 0 ] || user=(--map-root-user)
  INSIDE=1 exec unshare "${user[@]}" --net "$0" "$@"
fi

ip link set lo up
dir=$(mktemp -d)
gateway=
finish() {
  if [ -n "$gateway" ]; then kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true; fi
  rm -rf "$dir"
}
trap finish EXIT

key=schemathesis-key-0123456789abcdef
cat >"$dir/config.yaml" <<END
gateway:
  proxy_mode: stream
  drain_timeout: 1s
deployment:
  config_provider: embedded
  embedded:
    path: $dir/store.redb
  admin:
    admin_listen:
      ip: 127.0.0.1
      port: 9180
    admin_key:
      - name: admin
        key: $key
        role: admin
END

cd "$dir"
"$program" run --config config.yaml >gateway.log 2>&1 &
gateway=$!
for _ in $(seq 100); do
  curl -sf -o openapi.json http://127.0.0.1:9180/openapi.json && break
  kill -0 "$gateway" || { cat gateway.log; exit 1; }
  sleep 0.1
done

"$tools/schemathesis" run http://127.0.0.1:9180/openapi.json --header "X-API-KEY: $key" --max-examples "$examples" --workers 2 \
  --checks not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance
kill -0 "$gateway"
