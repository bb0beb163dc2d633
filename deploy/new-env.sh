#!/bin/sh
# Writes the secrets of a new installation to a file (.env, for docker compose), and prints the API key of its first tenant,
# which is kept nowhere else. Never overwrites.
#
# Usage: deploy/new-env.sh [FILE]
set -eu

file=${1:-.env}
umask 077

# Random bytes in hexadecimal.
random() {
  od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

[ ! -e "$file" ] || { echo "$file is there already; remove it for new secrets" >&2; exit 1; }
key=dk_$(random 32)
cat >"$file" <<END
# The password of Temporal's database.
POSTGRES_PASSWORD=$(random 24)

# The keys of the store.
AWS_ACCESS_KEY_ID=darkroom$(random 4)
AWS_SECRET_ACCESS_KEY=$(random 24)

# Who may call: tenants with the SHA-256 of their keys. An operator gives out further ones: POST /v1/keys.
DARKROOM_API_KEYS=default:$(printf %s "$key" | sha256sum | cut -c1-64):operator

# What the webhook secrets of tenants are made of.
DARKROOM_WEBHOOK_SECRET=whsec_$(head -c 32 /dev/urandom | base64 | tr -d '\n')

# Where callers and the provider reach the api, through your proxy: https://…
DARKROOM_PUBLIC_URL=
# Where they reach the store, for presigned URLs.
S3_PUBLIC_ENDPOINT=http://127.0.0.1:7070

# The provider: its token, and what signs its reports (GET /v1/webhooks/default/secret at Replicate).
REPLICATE_API_TOKEN=
REPLICATE_WEBHOOK_SECRET=

# The password of Grafana's admin.
GRAFANA_PASSWORD=$(random 12)
END
echo "$key"
