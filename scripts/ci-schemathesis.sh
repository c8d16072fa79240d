#!/usr/bin/env bash
# Tries every REST operation with what the OpenAPI document says and with what it does not: fails on
# a 5xx, an undeclared status, an answer against its schema, bad input taken for good, or a route
# that forgets to ask for a token.
#
#   BASE_URL=http://127.0.0.1:8080 scripts/ci-schemathesis.sh   a running server, RATE_LIMITS=off
#   scripts/ci-schemathesis.sh                                  a server of its own
#
# EXAMPLES (25) is the budget of each operation, SEED repeats a run. The tool lives outside the
# repository, in $RIALTO_TOOLS.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${BASE_URL:-}" ] || exec scripts/with-server.sh "scripts/$(basename "$0")"

version=4.32.5
tools=${RIALTO_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rialto-tools}
venv="$tools/schemathesis-$version"
if [ ! -x "$venv/bin/st" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi
# The tool leaves reports and caches where it runs.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# A user of its own for each part: some operations end what the token stands for.
token() {
  curl -sSf "$BASE_URL/api/v1/auth/register" -H 'content-type: application/json' \
    -d "{\"email\":\"u$RANDOM$RANDOM$RANDOM@example.org\",\"password\":\"correct $RANDOM horse\"}" |
    node -e 'process.stdin.on("data", (d) => console.log(JSON.parse(d).token))'
}

# `positive_data_acceptance` is left out: what a schema cannot say (a time zone that exists, fields
# that belong together) is refused with 422, and rightly.
try() {
  local name=$1 bearer
  shift
  echo "--- $name"
  bearer=$(token) || return 1
  "$venv/bin/st" run "$BASE_URL/api-json" --url "$BASE_URL/api/v1" --no-color \
    --header "Authorization: Bearer $bearer" \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-25}" \
    ${SEED:+--seed "$SEED"} --exclude-checks positive_data_acceptance --continue-on-failure \
    --warnings off --generation-database none "$@"
}

ending='auth.logout auth.sessions.revoke users.delete'
regex() { echo "^(${1//./\\.})(\.alias[0-9]+)?\$"; }
failed=0
try others --exclude-operation-id-regex "$(regex "${ending// /|}")" || failed=1
for id in $ending; do
  # One that does not exist (its feature is off) is nothing to try.
  curl -sSf "$BASE_URL/api-json" | grep -qF "\"operationId\":\"$id\"" || continue
  try "$id" --include-operation-id-regex "$(regex "$id")" || failed=1
done
exit "$failed"
