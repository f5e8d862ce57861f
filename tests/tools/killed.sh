#!/bin/sh
# SPDX-License-Identifier: MIT
# Workers, parents and Ctrl-C in the middle of a replay: it is told, and nothing is left behind.
. "$(dirname "$0")/helper/tap.sh"

# More than any machine replays in the time that a test needs to kill it.
start() {
	# A shell's background jobs ignore SIGINT, and their children would too.
	env --default-signal=INT "$accelctl" replay -q -j -p "$pool" -n 200000 -w 2 -c 100 -b 1M \
		> "$tmp/out" 2> "$tmp/err" &
	parent=$!
	workers=
	wait_until started && [ -n "$workers" ]
}

started() {
	kill -0 $parent || return 0
	set -- $(children $parent)
	[ $# = 4 ] && [ -d "/proc/$1" ] && workers="$*"
}

gone() {
	for pid in $workers; do
		[ ! -d "/proc/$pid" ] || grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null || return 1
	done
}

# killed INDEX SIGNAL NAME: a worker's death ends the replay with status 6 and its name.
killed() {
	index=$1 signal=$2 name=$3
	start || return 1
	set -- $workers
	shift $((index - 1))
	sleep 0.3
	kill -"$signal" "$1"
	wait $parent
	equal $? 6 && grep -q "$name (pid $1) was killed by signal" "$tmp/err" &&
		wait_until gone && [ ! -s "$tmp/out" ]
}
check "a prefill worker is killed" killed 1 KILL "prefill worker 0"
check "the other prefill worker is killed" killed 2 KILL "prefill worker 1"
check "a decode worker is killed" killed 3 KILL "decode worker 0"
check "a decode worker crashes" killed 4 ABRT "decode worker 1"

# ended SIGNAL STATUS: the parent dies of it, and takes the workers with it.
ended() {
	start || return 1
	sleep 0.3
	kill -$1 $parent
	wait $parent
	equal $? $2 && wait_until gone
}
check "the parent is killed" ended KILL 137
check "the parent is terminated" ended TERM 143
check "the parent's terminal is gone" ended HUP 129

# As a terminal does it: to the parent and to every worker.
interrupted() {
	start || return 1
	sleep 0.3
	kill -INT $parent $workers
	wait $parent
	equal $? 130 && wait_until gone && [ ! -s "$tmp/out" ]
}
check "Ctrl-C ends all of it" interrupted

again() {
	run "$accelctl" replay -q -j -p "$pool" -n 100 -w 2 -c 500 -b 4K --verify
	equal "$status" 0
}
check "the pool works after all that" again
check "nothing left of the pool" equal "$(grep -c "@npool/.*/test-$$/" /proc/net/unix)" 0
finish
