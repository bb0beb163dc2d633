#!/bin/sh
# Creates the namespace, sets its retention of closed workflows, and adds the search attributes.
# Idempotent.
#
# Needs the temporal CLI, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_RETENTION (such as 7d).
set -eu

# Retries a command every second, 60 times at most: Temporal's services take a moment to learn of a
# new namespace or search attribute.
until_done() {
  attempts=60
  until "$@" 2>/dev/null; do
    attempts=$((attempts - 1))
    [ "$attempts" -gt 0 ] || { echo "this does not work on the Temporal at $TEMPORAL_ADDRESS: $*" >&2; exit 1; }
    sleep 1
  done
}

until_done temporal operator cluster health >/dev/null

if temporal operator namespace describe -n "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace update -n "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION" >/dev/null
else
  temporal operator namespace create -n "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION" >/dev/null
fi

known=$(until_done temporal operator search-attribute list -n "$TEMPORAL_NAMESPACE")
for name in JobStatus Model Tenant; do
  if ! printf '%s\n' "$known" | grep -qw "$name"; then
    temporal operator search-attribute create -n "$TEMPORAL_NAMESPACE" --name "$name" --type Keyword >/dev/null
  fi
  # Wait until queries know the attribute: before that, Temporal would refuse jobs.
  until_done temporal workflow count -n "$TEMPORAL_NAMESPACE" --query "$name = 'none'" >/dev/null
done
echo "namespace $TEMPORAL_NAMESPACE keeps closed workflows for $TEMPORAL_RETENTION"
