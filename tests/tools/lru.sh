#!/bin/sh
# SPDX-License-Identifier: MIT
# With one worker a replay is an exact leaf-first LRU, at every capacity, also at those that one
# request's chain does not fit in. NPOOL_TRACE names a real trace to compare on as well.
. "$(dirname "$0")/helper/tap.sh"
lru=$(helper lru)
json=$(helper json)

same_as_lru() {
	run "$accelctl" replay -q -j -p "$pool" -t "$1" -c "$2" -b 64 --verify
	equal "$status" 0 || return 1
	expected=$("$lru" "$1" "$2") || return 1
	equal "$(value block_refs) $(value block_hits) $(value evictions)" "$expected" &&
		equal "$(value wrong_blocks)" 0
}

"$accelctl" trace --requests $((12031 * scale / 100)) -o "$tmp/trace" 2> "$tmp/err"
for capacity in 1 2 7 40 100 300 1000 3000 10000 30000; do
	[ $capacity -le $((30000 * scale / 100)) ] || continue
	check "generated trace, $capacity blocks" same_as_lru "$tmp/trace" $capacity
done

if [ -n "${NPOOL_TRACE-}" ]; then
	for capacity in 50 1000 2000 5000 10000 20000 50000 100000; do
		check "$NPOOL_TRACE, $capacity blocks" same_as_lru "$NPOOL_TRACE" $capacity
	done
fi

twice() {
	"$accelctl" replay -q -j -p "$pool" -t "$tmp/trace" -c 500 -b 64 |
		grep -v -e _ns -e p50 -e p99 -e seconds > "$tmp/first"
	"$accelctl" replay -q -j -p "$pool" -t "$tmp/trace" -c 500 -b 64 |
		grep -v -e _ns -e p50 -e p99 -e seconds | cmp - "$tmp/first" && [ -s "$tmp/first" ]
}
check "twice the same" twice

# Without a file the trace is the one that `accelctl trace` writes.
generated() {
	run "$accelctl" replay -q -j -p "$pool" -c 500 -b 64 -n 400 -s 3
	from_pool=$(value block_hits)
	"$accelctl" trace -n 400 -s 3 -o "$tmp/third" 2> "$tmp/err"
	[ "$from_pool" -gt 0 ] && equal "$from_pool" "$("$lru" "$tmp/third" 500 | cut -d ' ' -f 2)"
}
check "a generated trace is the same with and without a file" generated
finish
