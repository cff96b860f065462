#!/bin/sh
# Puts the demo's objects; answers once every gateway uses them. ADMIN is the address of an Admin API, ADMIN_KEY its key.
set -eu
cd "$(dirname "$0")"
put() {
  curl --fail-with-body --silent --show-error --output /dev/null --request PUT --header "X-API-KEY: $ADMIN_KEY" \
    --data-binary "@$2" "$ADMIN/apisix/admin/$1/demo?wait=applied&timeout=20s"
}
put upstreams upstream.json
put stream_routes stream_route.json
echo "demo: the gateways lead port 9100 to the demo upstream"
