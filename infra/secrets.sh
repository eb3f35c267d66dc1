#!/usr/bin/env bash
# Writes infra/.env: the template, with a fresh random value for each variable that it leaves empty.
set -euo pipefail
cd "$(dirname "$0")"

if [ -e .env ]; then
	echo "infra/.env exists and its passwords may be in use; move it away to make new ones." >&2
	exit 1
fi

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

umask 077
while IFS= read -r line; do
	case $line in
	TACA_USER=) line+=$(id -u):$(id -g) ;;
	PREFECT_AUTH_STRING=) line+=admin:$(random) ;;
	[A-Z]*=) line+=$(random) ;;
	esac
	printf '%s\n' "$line"
done <.env.example >.env.part
mv .env.part .env
