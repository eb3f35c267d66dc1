#!/usr/bin/env bash
# Dumps the databases of MLflow and Prefect, each as of one moment, while both run: backup.sh FOLDER
# libpq's variables (PGHOST, PGUSER, PGPASSWORD) say which server.
set -euo pipefail

fail() {
	echo "$1" >&2
	exit 1
}

[ $# -eq 1 ] || fail "Say where the dumps go: backup.sh FOLDER."
folder=$1
for name in mlflow prefect; do
	[ ! -e "$folder/$name.dump" ] || fail "$folder/$name.dump exists; name a new folder."
done

mkdir -p "$folder"
for name in mlflow prefect; do
	trap 'rm -f "$folder/$name.part"' EXIT
	pg_dump --format=custom --file="$folder/$name.part" "$name" ||
		fail "Database $name could not be dumped, for the reason above; $folder is no backup."
	mv "$folder/$name.part" "$folder/$name.dump"
done
echo "Dumped mlflow and prefect to $folder."
