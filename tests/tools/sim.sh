#!/bin/sh
# SPDX-License-Identifier: MIT
# The arbiter's simulator: its output, its errors, and that the arbiter keeps in simulated time
# what docs/performance.md says of it.
. "$(dirname "$0")/helper/tap.sh"
json=$(helper json)
sim=$(dirname "$accelctl")/qos-sim
seeds=$((scale < 100 ? 1 : 3))
policies="fifo strict strict_windows promotion hybrid"

# refuses TEXT OPTION...
refuses() {
	text=$1
	shift
	run "$sim" "$@"
	[ "$status" = 2 ] && [ ! -s "$tmp/out" ] && grep -q -- "$text" "$tmp/err"
}

# One object for each policy and load, in this order, with all that is promised in it.
rows() {
	run "$sim" --json --seeds $seeds --seconds 2
	[ "$status" = 0 ] || return 1
	row=0
	for policy in $policies; do
		for load in 0.6 0.75 0.85; do
			equal "$(value $row.policy)" "$policy" && equal "$(value $row.load)" $load || return 1
			for key in latency_p99_ns latency_p999_ns ideal_ns bulk_gbps \
				deadline_admitted deadline_missed; do
				[ -n "$(value $row.$key)" ] || { echo "# no $key"; return 1; }
			done
			row=$((row + 1))
		done
	done
	[ -z "$(value $row.policy)" ]
}

# keeps LOAD-INDEX: a burst's tail, all deadlines, and bulk's share of what it has without classes.
keeps() {
	hybrid=$((12 + $1))
	awk -v tail="$(value $hybrid.latency_p999_ns)" -v ideal="$(value $hybrid.ideal_ns)" \
		-v admitted="$(value $hybrid.deadline_admitted)" \
		-v missed="$(value $hybrid.deadline_missed)" \
		-v bulk="$(value $hybrid.bulk_gbps)" -v fifo="$(value "$1".bulk_gbps)" \
		'BEGIN { exit !(tail <= 1.5 * ideal && admitted > 1000 && !missed &&
				bulk >= 0.95 * fifo) }'
}

# The comparison would be none if whole copies did as well.
worse() {
	[ "$(value "$1".latency_p999_ns)" -gt "$(($(value 12.latency_p999_ns) * 10))" ]
}

same() {
	"$sim" --json --seeds 1 --seconds 1 --seed 7 > "$tmp/a" 2> "$tmp/err" &&
		"$sim" --json --seeds 1 --seconds 1 --seed 7 > "$tmp/b" 2> "$tmp/err" &&
		"$sim" --json --seeds 1 --seconds 1 --seed 8 > "$tmp/c" 2> "$tmp/err" &&
		cmp "$tmp/a" "$tmp/b" && ! cmp -s "$tmp/a" "$tmp/c"
}

table() {
	run "$sim" --seeds 1 --seconds 1
	[ "$status" = 0 ] && equal "$(grep -cE '^(fifo|strict|strict_windows|promotion|hybrid) ' "$tmp/out")" 15
}

check "an option that is none" refuses unrecognized --bad
check "no seeds" refuses seeds --seeds 0
check "no time" refuses seconds --seconds x
check "something left over" refuses usage extra
check "a table" table
check "the same seed, the same result" same
check "a row for each policy and load" rows
for load in 0 1 2; do
	check "hybrid keeps its promises at load $load" keeps $load
done
check "fifo does not" worse 0
check "strict priority without windows does not" worse 3
check "three queues with promotion do not" worse 9
finish
