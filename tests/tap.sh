# SPDX-License-Identifier: MIT
# For test scripts: `. tests/tap.sh`, then `ok NAME COMMAND...` for each test, `finish` at the end.
# A command's output is shown only when it fails.
# shellcheck shell=sh
tap_count=0
tap_failed=0

ok() {
	tap_name=$1
	shift
	tap_count=$((tap_count + 1))
	if tap_out=$("$@" 2>&1); then
		echo "ok $tap_count $tap_name"
	else
		tap_failed=1
		echo "not ok $tap_count $tap_name"
		printf '%s\n' "$tap_out" | sed 's/^/# /'
	fi
}

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count $1 # SKIP $2"
}

finish() {
	echo "1..$tap_count"
	exit $tap_failed
}
