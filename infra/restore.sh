#!/usr/bin/env bash
# Restores the databases of MLflow and Prefect from what backup.sh made: restore.sh FOLDER [--overwrite]
# Stop both servers first. A database that has tables is replaced only with --overwrite. Each is filled under another
# name and takes its own when it is whole. libpq's variables (PGHOST, PGUSER, PGPASSWORD) say which server.
set -euo pipefail
export PGOPTIONS=--client-min-messages=warning

fail() {
	echo "$1" >&2
	exit 1
}

query() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"; }

tables() {
	if [ "$(query --dbname=postgres --command="SELECT count(*) FROM pg_database WHERE datname = '$1'")" = 0 ]; then
		echo 0
	else
		query --dbname="$1" --command="SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
	fi
}

users() { query --dbname=postgres --command="SELECT count(*) FROM pg_stat_activity WHERE datname = '$1'"; }

[ $# -eq 1 ] || { [ $# -eq 2 ] && [ "$2" = --overwrite ]; } || fail "Say from where: restore.sh FOLDER [--overwrite]."
folder=$1

# All that can be known before is: nothing is touched unless both can be restored.
for name in mlflow prefect; do
	[ -e "$folder/$name.dump" ] || fail "$folder/$name.dump is not there; name a folder that backup.sh made."
	pg_restore --list "$folder/$name.dump" >/dev/null 2>&1 || fail "$folder/$name.dump is no whole dump; take another one."
	found=$(tables "$name") || fail "The database server does not answer, for the reason above; set PGHOST, PGUSER and PGPASSWORD."
	[ "$found" = 0 ] || [ "${2:-}" = --overwrite ] ||
		fail "Database $name has $found tables; add --overwrite to replace it, and with it all that it holds."
	[ "$(users "$name")" = 0 ] || fail "Database $name is in use; stop the servers of MLflow and Prefect first."
done

for name in mlflow prefect; do
	dropdb --if-exists "${name}_restored"
	createdb "${name}_restored"
	pg_restore --exit-on-error --single-transaction --no-owner --dbname="${name}_restored" "$folder/$name.dump" ||
		fail "Database $name could not be restored, for the reason above, and is as it was."
done
for name in mlflow prefect; do
	dropdb --if-exists "$name"
	query --dbname=postgres --command="ALTER DATABASE ${name}_restored RENAME TO $name"
done
echo "Restored mlflow and prefect from $folder."
