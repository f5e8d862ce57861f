#!/bin/sh
# SPDX-License-Identifier: MIT
# The commands that show and change a pool: for people and as JSON.
. "$(dirname "$0")/helper/tap.sh"
json=$(helper json)

# shows KEY COMMAND...: prints something, and with -j one JSON value with KEY in it.
shows() {
	key=$1
	shift
	run "$accelctl" "$@"
	[ "$status" = 0 ] && [ -s "$tmp/out" ] || return 1
	run "$accelctl" "$@" -j
	[ "$status" = 0 ] && value "$key" > /dev/null
}

check "list" shows 0.npus.0.name list
check "list a pool" shows 0.npus.0.bytes_free list --pool "$pool"
check "its address" equal "$(value 0.pool)" "$pool"
check "info" shows bytes_total info --pool "$pool"
check "its limits" test "$(value queue_depth)" -gt 0
check "info on the default pool" shows pool info
check "and says which it is" grep -q "using pool" "$tmp/err"
check "stat" shows 0.jobs_submitted stat --pool "$pool"
check "stat again and again" shows 0.npu stat --pool "$pool" --watch 1 --count 1

watched() {
	run "$accelctl" stat --pool "$pool" --watch 1 --count 2
	[ "$status" = 0 ] && equal "$(grep -c '^ *npu ' "$tmp/out")" 2
}
check "stat twice" watched

for command in list info stat "npu remove 0" "npu inject 0 die"; do
	check "$command: no such device" ends 4 "drm:/dev/accel/none" $command -p drm:/dev/accel/none
	check "$command: broken address" ends 2 "nonsense" $command -p nonsense
done

# What doctor finds differs from machine to machine; that it says what to do about it does not.
mends() {
	run "$accelctl" doctor
	missing=$(grep -c '^missing' "$tmp/out")
	equal "$(grep -c '^ *why: ' "$tmp/out")" "$missing" &&
		equal "$(grep -c '^ *mend: ' "$tmp/out")" "$missing" && grep -q '^ok  *soft' "$tmp/out"
}
check "doctor: the basics are there" ends 0 "" doctor
check "doctor says how to mend what is missing" mends
check "doctor as JSON" shows 0.why doctor

if [ -z "${NPOOL_TEST_URI-}" ]; then
	# A soft pool lives as long as its users: one that outlasts the commands.
	"$accelctl" stat -p "$pool" --watch 600 > /dev/null 2> "$tmp/err" &
	holder=$!
	trap 'kill $holder 2>/dev/null; rm -rf "$tmp"' EXIT
	wait_until sh -c "'$accelctl' list -j | grep -q 'soft:test-$$\"'"
	check "a pool in use is listed" sh -c "'$accelctl' list | grep -q '^soft:test-$$ '"
	check "the pool has two NPUs" sh -c "'$accelctl' info -j -p '$pool' | '$json' npus | grep -qx 2"
	check "add an NPU" ends 0 "" npu add spare --size 16M -p "$pool" --latency-ns 5
	check "taken name" ends 6 "File exists" npu add spare -p "$pool"
	check "inject a fault" shows npu npu inject 1 alloc 1 -p "$pool"
	check "remove an NPU" ends 0 "" npu remove 2 -p "$pool"
	check "remove it again" ends 4 "npu remove 2" npu remove 2 -p "$pool"
	check "remove what never was" ends 4 "npu remove 77" npu remove 77 -p "$pool"
	check "have one die" ends 0 "" npu inject 1 die -p "$pool"
	check "the others go on" ends 0 "" replay -q -p "$pool" -n 20 -c 100 -b 4K
	kill $holder
fi
finish
