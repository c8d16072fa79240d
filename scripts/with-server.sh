#!/usr/bin/env bash
# with-server.sh COMMAND…: runs a command against a server of its own, on embedded defaults in a
# folder that is gone afterwards. The command finds it at $BASE_URL; its exit code is ours. What the
# server logged as an error fails the run even when the command saw nothing wrong.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
# The embedded database may run under an account of its own.
chmod 755 "$scratch"
port=$(node -e 'const s = require("net").createServer()
s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')

HOST=127.0.0.1 PORT=$port DATA_DIR="$scratch/data" LOG_LEVEL=${LOG_LEVEL:-warn} \
  RATE_LIMITS=${RATE_LIMITS:-off} node scripts/run.mjs src/main.ts >"$scratch/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT

export BASE_URL="http://127.0.0.1:$port"
for _ in $(seq 240); do
  curl -sf "$BASE_URL/health/ready" >/dev/null && break
  if ! kill -0 "$server" 2>/dev/null; then break; fi
  sleep 0.25
done
if ! curl -sf "$BASE_URL/health/ready" >/dev/null; then
  echo "The server did not come up:"
  tail -n 40 "$scratch/log"
  exit 1
fi

status=0
"$@" || status=$?
if grep -E '"level":"(error|fatal)"' "$scratch/log" >"$scratch/errors"; then
  echo "The server logged errors:"
  head -n 20 "$scratch/errors"
  [ "$status" -ne 0 ] || status=1
fi
exit "$status"
