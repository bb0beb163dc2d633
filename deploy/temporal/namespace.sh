#!/bin/sh
# Makes the namespace, sets how long closed workflows are kept, and adds the search attributes. Can be repeated.
#
# Needs the temporal CLI, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_RETENTION (such as 7d).
set -eu

attempts=60
until temporal operator cluster health >/dev/null 2>&1; do
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || { echo "no Temporal at $TEMPORAL_ADDRESS within a minute (TEMPORAL_ADDRESS)" >&2; exit 1; }
  sleep 1
done

if temporal operator namespace describe -n "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace update -n "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION" >/dev/null
else
  temporal operator namespace create -n "$TEMPORAL_NAMESPACE" --retention "$TEMPORAL_RETENTION" >/dev/null
fi

# A new namespace takes a moment to be known everywhere.
attempts=60
until known=$(temporal operator search-attribute list -n "$TEMPORAL_NAMESPACE" 2>/dev/null); do
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || { echo "namespace $TEMPORAL_NAMESPACE is not to be had" >&2; exit 1; }
  sleep 1
done
for name in JobStatus Model Tenant; do
  if ! printf '%s\n' "$known" | grep -qw "$name"; then
    temporal operator search-attribute create -n "$TEMPORAL_NAMESPACE" --name "$name" --type Keyword >/dev/null
  fi
done
echo "namespace $TEMPORAL_NAMESPACE keeps closed workflows for $TEMPORAL_RETENTION"
