# SPDX-License-Identifier: MIT
# Sourced by the tests here: TAP output, a scratch folder that goes with the test, the helpers.
#
#   ACCELCTL         the program under test (build/accelctl)
#   NPOOL_TEST_URI   pool to run on (a soft: pool of this test's own)
#   NPOOL_TEST_SCALE percent of the full size, for slow machines (100)
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
accelctl=${ACCELCTL:-$top/build/accelctl}
pool=${NPOOL_TEST_URI:-"soft:test-$$?npus=2&size=2G"}
scale=${NPOOL_TEST_SCALE:-100}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
count=0
failed=0

# helper NAME: path of a helper program, compiled here if the build has not.
helper() {
	built=$(dirname "$accelctl")/tests/tools/helper/$1
	if [ ! -x "$built" ]; then
		built=$tmp/$1
		${CC:-cc} -O2 -o "$built" "$here/helper/$1.c" || exit 1
	fi
	echo "$built"
}

# check NAME COMMAND...: a test that passes when COMMAND does.
check() {
	test_name=$1
	shift
	count=$((count + 1))
	if "$@"; then
		echo "ok $count - $test_name"
	else
		failed=1
		echo "not ok $count - $test_name"
		sed 's/^/# stdout: /' "$tmp/out" 2>/dev/null | head -n 5
		sed 's/^/# stderr: /' "$tmp/err" 2>/dev/null | tail -n 5
	fi
}

finish() {
	echo "1..$count"
	exit $failed
}

# run COMMAND...: its output in $tmp/out and $tmp/err, its exit status in $status.
run() {
	"$@" > "$tmp/out" 2> "$tmp/err"
	status=$?
}

# ends STATUS TEXT COMMAND...: whether accelctl ends with STATUS, and TEXT is in its message.
ends() {
	want=$1
	text=$2
	shift 2
	run "$accelctl" "$@"
	[ "$status" = "$want" ] && { [ -z "$text" ] || grep -qF -- "$text" "$tmp/err"; } ||
		{ echo "# status $status, wanted $want with '$text'"; return 1; }
}

# value KEY: of the JSON object in $tmp/out.
value() {
	"$json" "$1" < "$tmp/out"
}

equal() {
	[ "$1" = "$2" ] || { echo "# $1 is not $2"; return 1; }
}

# near VALUE WANTED PERCENT
near() {
	awk -v a="$1" -v b="$2" -v p="$3" 'BEGIN { d = a - b; exit !(d * d <= b * b * p * p / 1e4) }' ||
		{ echo "# $1 is not within $3 % of $2"; return 1; }
}

# children PID: its child processes, by number. Not every kernel lists them.
children() {
	if [ -r "/proc/$1/task/$1/children" ]; then
		tr ' ' '\n' < "/proc/$1/task/$1/children" | sort -n
		return
	fi
	cat /proc/[0-9]*/stat 2>/dev/null | sed 's/^\([0-9]*\) .*) . \([0-9]*\) .*/\1 \2/' |
		awk -v parent="$1" '$2 == parent { print $1 }' | sort -n
}

# wait_until COMMAND...: up to a minute.
wait_until() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || return 1
		sleep 0.1
	done
}
