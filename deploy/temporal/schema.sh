#!/bin/sh
# Creates Temporal's two databases and migrates their schemas to the version of the tool.
# Idempotent; run it again at each upgrade.
#
# Needs temporal-sql-tool of the server's version, and SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD of
# a role that may create databases.
set -eu

export SQL_PLUGIN=postgres12

for database in temporal temporal_visibility; do
  case $database in
    temporal) schema=postgresql/v12/temporal ;;
    temporal_visibility) schema=postgresql/v12/visibility ;;
  esac
  export SQL_DATABASE=$database
  temporal-sql-tool create-database
  # Only creates the table of schema versions, and leaves an existing one unchanged.
  temporal-sql-tool setup-schema --version 0.0
  temporal-sql-tool update-schema --schema-name "$schema"
done
