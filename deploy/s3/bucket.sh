#!/bin/sh
# Creates the bucket and sets the lifecycle rule that aborts unfinished multipart uploads. On a
# Versity gateway, also creates the users of worker and api, or gives them new secrets, and sets the
# bucket policy with their rights (policy.json). The rule and the policy replace all others of the
# bucket. Idempotent.
#
# Needs curl 7.88 or later, and AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID,
# AWS_SECRET_ACCESS_KEY, S3_BUCKET. The users are created if S3_WORKER_ACCESS_KEY_ID,
# S3_WORKER_SECRET_ACCESS_KEY, S3_API_ACCESS_KEY_ID, S3_API_SECRET_ACCESS_KEY are set; their rights
# are to keys that begin with S3_KEY_PREFIX. On another store, set none of these.
set -eu

here=$(dirname "$0")
prefix=${S3_KEY_PREFIX:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
answer=$work/answer

# Sends a file by a method to a path of the store and prints the status; the body of the answer is in
# $answer. The access key is passed by standard input, as other users can see the arguments of a process.
send() {
  printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --config - --silent --show-error --max-time 30 --retry 30 --retry-connrefused --retry-delay 1 \
      --aws-sigv4 "aws:amz:$AWS_REGION:s3" --request "$1" --data-binary "@$2" --header 'Content-Type:' \
      --header "x-amz-content-sha256: $(sha256sum <"$2" | cut -c1-64)" --header "Content-MD5: $(md5 "$2")" \
      --output "$answer" --write-out '%{http_code}' "$AWS_ENDPOINT_URL_S3/$3"
}

# Prints the MD5 of a file in base64, without tools that small images do not have.
md5() {
  for byte in $(md5sum <"$1" | cut -c1-32 | sed 's/../0x& /g'); do
    # shellcheck disable=SC2059 # The format is the byte.
    printf "\\$(printf %03o "$byte")"
  done | base64
}

fail() {
  echo "$1: $(sed -n 's/.*<Message>\(.*\)<\/Message>.*/\1/p' "$answer")" >&2
  exit 1
}

# Fails unless a value can be put into a policy, a URL and XML as it is.
check_plain() {
  case $2 in
    *[!A-Za-z0-9._/-]*)
      echo "$1 may consist of letters, digits and . _ / - only" >&2
      exit 1
      ;;
  esac
}

# Creates a user of the gateway who has no rights but those of bucket policies, or changes its secret.
user() {
  secret=$(printf %s "$2" | sed 's/&/\&amp;/g; s/</\&lt;/g')
  printf '<Account><Access>%s</Access><Secret>%s</Secret><Role>user</Role></Account>' "$1" "$secret" >"$work/user"
  status=$(send PATCH "$work/user" create-user)
  if [ "$status" = 409 ]; then
    status=$(send PATCH "$work/user" "update-user?access=$1")
  fi
  case $status in
    200 | 201) echo "user $1 has its key" ;;
    *) fail "cannot make user $1 ($status)" ;;
  esac
}

users=${S3_WORKER_ACCESS_KEY_ID:-}${S3_API_ACCESS_KEY_ID:-}
if [ -n "$users" ]; then
  : "${S3_WORKER_ACCESS_KEY_ID:?}" "${S3_WORKER_SECRET_ACCESS_KEY:?}" "${S3_API_ACCESS_KEY_ID:?}" "${S3_API_SECRET_ACCESS_KEY:?}"
  check_plain S3_WORKER_ACCESS_KEY_ID "$S3_WORKER_ACCESS_KEY_ID"
  check_plain S3_API_ACCESS_KEY_ID "$S3_API_ACCESS_KEY_ID"
  check_plain S3_KEY_PREFIX "$prefix"
  check_plain S3_BUCKET "$S3_BUCKET"
  user "$S3_WORKER_ACCESS_KEY_ID" "$S3_WORKER_SECRET_ACCESS_KEY"
  user "$S3_API_ACCESS_KEY_ID" "$S3_API_SECRET_ACCESS_KEY"
fi

status=$(send PUT /dev/null "$S3_BUCKET")
case $status in
  200) echo "bucket $S3_BUCKET made" ;;
  # A gateway whose users are ours has no bucket of others: its root key has changed.
  409) [ -n "$users" ] || grep -q BucketAlreadyOwnedByYou "$answer" ||
    fail "bucket $S3_BUCKET belongs to another account" ;;
  *) fail "cannot make bucket $S3_BUCKET ($status)" ;;
esac

if [ -n "$users" ]; then
  sed "s|<worker>|$S3_WORKER_ACCESS_KEY_ID|; s|<api>|$S3_API_ACCESS_KEY_ID|; s|<bucket>|$S3_BUCKET|; s|<prefix>|$prefix|" \
    "$here/policy.json" >"$work/policy"
  status=$(send PUT "$work/policy" "$S3_BUCKET?policy=")
  case $status in
    200 | 204) echo "bucket $S3_BUCKET gives worker and api their rights" ;;
    *) fail "cannot set the policy of bucket $S3_BUCKET ($status)" ;;
  esac
fi

status=$(send PUT "$here/lifecycle.xml" "$S3_BUCKET?lifecycle=")
case $status in
  200) echo "bucket $S3_BUCKET aborts unfinished uploads" ;;
  # The Versity gateway does not implement lifecycle rules.
  501) echo "this store has no lifecycle rules: unfinished uploads are left to the workers' sweep" ;;
  *) fail "cannot set the lifecycle rule of bucket $S3_BUCKET ($status)" ;;
esac
