#!/bin/bash
# pg.sh COMMAND [ARGUMENT...] - runs COMMAND with a private PostgreSQL of its own: a fresh cluster in
# a temporary folder, unix socket only, no fsync, with every migration of sql/ applied. The command
# finds PAY_PG (application role) and PAY_PG_OWNER (superuser). All of it is gone at the end.
#
# With PAY_PG and PAY_PG_OWNER given, COMMAND runs against those.
set -u -o pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)

if [ -n "${PAY_PG:-}" ] && [ -n "${PAY_PG_OWNER:-}" ]; then
    exec "$@"
fi

bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)}
dir=$(mktemp -d /tmp/pay_pg.XXXXXX) || exit 1
log=$dir/log
as=()
if [ "$(id -u)" = 0 ]; then # initdb refuses root
    chown postgres "$dir" || exit 1
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi

stop() {
    [ -f "$dir/data/postmaster.pid" ] &&
        "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 129' HUP INT TERM

fail() {
    echo "pg.sh: $1" >&2
    cat "$log" "$dir/server.log" 2>/dev/null | tail -n 20 | sed 's/^/# /' >&2
    exit 1
}

cd "$dir" || exit 1
"${as[@]}" "$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$log" 2>&1 ||
    fail "initdb"
"${as[@]}" tee -a data/postgresql.conf >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
max_connections = 60
shared_buffers = 64MB
fsync = ${PG_FSYNC:-off}
log_min_messages = warning
${PG_CONF:-}
CONF
"${as[@]}" "$bin/pg_ctl" -D data -l "$dir/server.log" -w -t 60 start >/dev/null 2>&1 || fail "start"

export PAY_PG="host=$dir dbname=pay user=ngx_pay_app"
export PAY_PG_OWNER="host=$dir dbname=pay user=postgres"
export PAY_PG_DIR=$dir
psql=("$bin/psql" -X -q -v ON_ERROR_STOP=1 -d "$PAY_PG_OWNER")
"$bin/createdb" -h "$dir" -U postgres -T template0 pay >>"$log" 2>&1 || fail "createdb"
for f in "$here"/sql/[0-9]*.sql; do
    n=$(basename "$f" .sql)
    "${psql[@]}" --single-transaction -f "$f" \
        -c "INSERT INTO pay.schema_version (version, name) VALUES ($((10#${n%%_*})), '$n')" \
        >>"$log" 2>&1 || fail "$n"
done

cd "$here" || exit 1
"$@"
