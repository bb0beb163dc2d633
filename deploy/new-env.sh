#!/bin/sh
# Writes the secrets of a new installation to a file (.env, for docker compose), and prints the API
# key of its first tenant, which is stored nowhere else. Never overwrites a file.
#
# Usage: deploy/new-env.sh [FILE]
set -eu

file=${1:-.env}
umask 077

# Prints this number of random bytes in hexadecimal.
random() {
  od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

[ ! -e "$file" ] || { echo "$file is there already; remove it for new secrets" >&2; exit 1; }
key=dk_$(random 32)
cat >"$file" <<END
# Password of Temporal's database.
POSTGRES_PASSWORD=$(random 24)

# Access keys of the store: the gateway's own, which may do everything, and those of worker and api.
S3_ROOT_ACCESS_KEY_ID=root$(random 4)
S3_ROOT_SECRET_ACCESS_KEY=$(random 24)
S3_WORKER_ACCESS_KEY_ID=worker$(random 4)
S3_WORKER_SECRET_ACCESS_KEY=$(random 24)
S3_API_ACCESS_KEY_ID=api$(random 4)
S3_API_SECRET_ACCESS_KEY=$(random 24)

# API keys: tenants with the SHA-256 of their keys. An operator creates further ones: POST /v1/keys.
DARKROOM_API_KEYS=default:$(printf %s "$key" | sha256sum | cut -c1-64):operator

# Secret from which the webhook secrets of the tenants are derived.
DARKROOM_WEBHOOK_SECRET=whsec_$(head -c 32 /dev/urandom | base64 | tr -d '\n')

# URL at which callers and the provider reach the api, through your proxy: https://…
DARKROOM_PUBLIC_URL=
# URL at which callers reach the store, for presigned URLs, through your proxy: https://… With a
# public api, the api refuses a loopback address here.
S3_PUBLIC_ENDPOINT=http://127.0.0.1:7070

# The provider's API token, and the secret that signs its webhooks
# (GET /v1/webhooks/default/secret at Replicate).
REPLICATE_API_TOKEN=
REPLICATE_WEBHOOK_SECRET=

# Password of Grafana's admin.
GRAFANA_PASSWORD=$(random 12)
END
echo "$key"
