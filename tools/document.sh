#!/usr/bin/env bash
# Writes docs/api and the client's list of kinds. The program that does it has the command line in it, which
# may speak of fields that the client's models do not have yet: then those of the last commit stand in for both,
# until the models are made anew.
set -euo pipefail
cd "$(dirname "$0")/.."
if go build ./cli 2>/dev/null; then
	exec go run ./cmd/virga document docs/api
fi
old=$(mktemp -d)
trap 'rm -rf "$old"' EXIT
git archive HEAD cli client | tar x -C "$old"
{
	printf '{"Replace":{'
	comma=
	while read -r file; do
		there=$old/$file
		[ -e "$there" ] || there=
		printf '%s"%s":"%s"' "$comma" "$PWD/$file" "$there"
		comma=,
	done < <({ ls cli/*.go client/*.go; cd "$old" && ls cli/*.go client/*.go; } | sort -u)
	printf '}}'
} >"$old/overlay.json"
go run -overlay "$old/overlay.json" ./cmd/virga document docs/api
