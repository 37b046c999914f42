#!/bin/sh
# Entry point of the image `postgres`: a fresh database below PGDATA, listening on all addresses.
set -eu
for folder in /usr/lib/postgresql/*/bin; do PATH=$folder:$PATH; done
export PATH
PGDATA=${PGDATA:-/tmp/pgdata}
export PGDATA
mkdir -p "$PGDATA" /run/postgresql
chown postgres "$PGDATA" /run/postgresql
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
password=$(mktemp)
printf '%s' "${POSTGRES_PASSWORD:-postgres}" >"$password"
chown postgres "$password"
as_postgres initdb --auth=scram-sha-256 --username="${POSTGRES_USER:-postgres}" --pwfile="$password" >/dev/null
rm "$password"
echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
exec setpriv --reuid=postgres --regid=postgres --init-groups postgres -c "listen_addresses=*" "$@"
