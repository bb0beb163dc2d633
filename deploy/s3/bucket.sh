#!/bin/sh
# Creates the bucket and sets the lifecycle rule that aborts unfinished multipart uploads. The rule
# replaces all lifecycle rules of the bucket. Idempotent.
#
# Needs curl 7.88 or later, and AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_ACCESS_KEY_ID,
# AWS_SECRET_ACCESS_KEY, S3_BUCKET.
set -eu

rule=$(dirname "$0")/lifecycle.xml
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# Sends a file to a path of the bucket and prints the status; the body of the answer is in $answer.
# The access key is passed by standard input, as other users can see the arguments of a process.
put() {
  printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" |
    curl --config - --silent --show-error --max-time 30 --retry 30 --retry-connrefused --retry-delay 1 \
      --aws-sigv4 "aws:amz:$AWS_REGION:s3" --request PUT --data-binary "@$1" --header 'Content-Type:' \
      --header "x-amz-content-sha256: $(sha256sum <"$1" | cut -c1-64)" --header "Content-MD5: $(md5 "$1")" \
      --output "$answer" --write-out '%{http_code}' "$AWS_ENDPOINT_URL_S3/$S3_BUCKET$2"
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

status=$(put /dev/null "")
case $status in
  200) echo "bucket $S3_BUCKET made" ;;
  409) grep -q BucketAlreadyOwnedByYou "$answer" || fail "bucket $S3_BUCKET belongs to another account" ;;
  *) fail "cannot make bucket $S3_BUCKET ($status)" ;;
esac

status=$(put "$rule" "?lifecycle=")
case $status in
  200) echo "bucket $S3_BUCKET aborts unfinished uploads" ;;
  # The Versity gateway does not implement lifecycle rules.
  501) echo "this store has no lifecycle rules: unfinished uploads are left to the workers' sweep" ;;
  *) fail "cannot set the lifecycle rule of bucket $S3_BUCKET ($status)" ;;
esac
