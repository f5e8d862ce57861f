#!/bin/sh
# SPDX-License-Identifier: MIT
# qos, top, stat --class and bench qos: what they show, what they change, what they put back.
. "$(dirname "$0")/helper/tap.sh"
json=$(helper json)
client=$(helper client)

# Impossible options, by name.
for command in "qos show" "qos set" "qos reserve" "bench qos"; do
	check "$command --help" sh -c "'$accelctl' $command --help | grep -q 'Usage: accelctl $command '"
	check "$command: unknown option" ends 2 "--nonsense" $command --nonsense
	check "$command: too many arguments" ends 2 "'more'" $command more
done
for command in qos bench; do
	check "$command alone" ends 2 "Usage: accelctl $command" $command
	check "$command: unknown command" ends 2 "'nonsense'" $command nonsense
done
check "qos set nothing" ends 2 "--policy or --slack" qos set
check "qos set --policy best" ends 2 "--policy: 'best'" qos set --policy best
for value in 20 us 0us 999ns 1m -1us 101ms 1000s 99999999999999999999s ""; do
	check "qos set --slack '$value'" ends 2 "--slack: '$value'" qos set --slack "$value"
done
check "qos reserve nobody" ends 2 "--client and --rate" qos reserve --rate 1G
check "qos reserve nothing" ends 2 "--client and --rate" qos reserve --client 1
check "qos reserve --client 0" ends 2 "--client: '0'" qos reserve --client 0 --rate 1
check "qos reserve --rate much" ends 2 "--rate: 'much'" qos reserve --client 1 --rate much
check "top --interval 1" ends 2 "--interval: '1'" top --interval 1
check "top --interval 9ms" ends 2 "--interval: '9ms'" top --interval 9ms
check "top --count 0" ends 2 "--count: '0'" top --count 0
for option in seconds size flood incast; do
	check "bench qos --$option 0" ends 2 "--$option: '0'" bench qos --$option 0
done
for command in "qos show" "qos set --slack 1us" "qos reserve --client 1 --rate 1" "stat --class" \
	"top --count 1" "bench qos"; do
	check "$command: no such device" ends 4 "drm:/dev/accel/none" $command -p drm:/dev/accel/none
done

# Somebody who has the pool open while the commands come and go.
mkfifo "$tmp/ask"
"$client" "$pool" < "$tmp/ask" > "$tmp/answers" 2> "$tmp/err" &
holder=$!
exec 3> "$tmp/ask"
trap 'kill $holder 2>/dev/null; rm -rf "$tmp"' EXIT

# answered N: the client has printed N lines, the last of which goes to $answer.
answered() {
	[ "$(wc -l < "$tmp/answers")" = "$1" ] && answer=$(tail -n 1 "$tmp/answers")
}
asked=1
ask() {
	asked=$((asked + 1))
	echo "$1" >&3
	wait_until answered $asked
}
wait_until answered 1
id=$answer

# shown KEY: of qos show.
shown() {
	run "$accelctl" qos show -j -p "$pool"
	[ "$status" = 0 ] && value "$1"
}
is() {
	equal "$(shown "$1")" "$2"
}

check "qos show" ends 0 "" qos show -p "$pool"
check "it shows ports" grep -q '^ *0 write ' "$tmp/out"
check "and classes" grep -q '^scrub ' "$tmp/out"
check "by default" is policy hybrid
check "its slack" is slack_ns 40000
for key in pool policy slack_ns ports.0.npu ports.0.bandwidth ports.0.overhead_ns ports.0.window \
	ports.0.inflight ports.0.reserved ports.0.promised ports.0.moved classes.4.jobs classes.0.bytes; do
	check "as JSON: $key" test -n "$(shown $key)"
done
check "sides" equal "$(shown ports.0.side) $(shown ports.1.side)" "read write"

window=$(shown ports.0.window)
check "set slack and policy" ends 0 "" qos set --slack 500us --policy strict -p "$pool"
check "says what holds now" grep -q 'policy strict, slack 500.00 us' "$tmp/out"
check "the policy is set" is policy strict
check "the slack is set" is slack_ns 500000
check "windows follow" test "$(shown ports.0.window)" -gt "$window"
ask policy
check "for others too" equal "$answer" 2
for policy in fifo strict-windows hybrid; do
	check "set $policy" ends 0 "" qos set --policy $policy -p "$pool" -j
	check "it says so" equal "$(value policy)" $policy
done
check "the slack has stayed" is slack_ns 500000
check "set it back" ends 0 "" qos set --slack 40us -p "$pool"
check "windows follow again" is ports.0.window "$window"

grant() {
	run "$accelctl" qos reserve --client "$id" --rate "$1" -p "$pool"
	[ "$status" = 0 ] && grep -q "client $id may reserve $2" "$tmp/out" &&
		ask granted && equal "$answer" "$3"
}
check "grant a rate" grant 1G "1 GiB a second" 1073741824
check "another" grant 3000 "2.93 KiB a second" 3000
check "take it back" grant 0 "nothing more" 0
check "as JSON" ends 0 "" qos reserve --client "$id" --rate 2G -p "$pool" -j
check "whose" equal "$(value client) $(value rate)" "$id 2147483648"
check "no such client" ends 4 "no client 18446744073709551615" qos reserve -p "$pool" \
	--client 18446744073709551615 --rate 1
before=$(shown ports.0.reserved)
ask reserve
check "a reservation" equal "$answer" 0
check "is shown" near $(($(shown ports.0.reserved) - before)) 65536000 1

# Lines of top -j, each an object.
top_json() {
	run "$accelctl" top -j --interval 20ms --count 3 -p "$pool"
	[ "$status" = 0 ] && equal "$(wc -l < "$tmp/out")" 3 || return 1
	while read -r line; do
		for key in pool policy interval_ns npus.0.npu npus.0.gbps npus.0.read.window \
			npus.0.read.gbps npus.0.write.gbps npus.0.write.inflight classes; do
			echo "$line" | "$json" $key > "$tmp/key" || { echo "# $key in $line"; return 1; }
		done
	done < "$tmp/out"
}
check "top as JSON" top_json
check "top" ends 0 "" top --interval 10ms --count 2 -p "$pool"
check "prints a table each time" equal "$(grep -c '^ *npu  *GB/s' "$tmp/out")" 2
check "and no escapes" sh -c "! grep -q '$(printf '\033')' '$tmp/out'"

# On a terminal: enters its screen, and leaves it when interrupted.
screen() {
	: > "$tmp/typescript"
	env --default-signal=INT script -qefc "exec $accelctl top --interval 50ms -p '$pool'" \
		"$tmp/typescript" > /dev/null 2>&1 < /dev/null &
	terminal=$!
	wait_until grep -q 'policy' "$tmp/typescript" || return 1
	for pid in $(children $terminal); do
		kill -INT $pid $(children $pid) 2> /dev/null
	done
	wait $terminal
	grep -q "$(printf '\033')\[?1049h" "$tmp/typescript" &&
		grep -q "$(printf '\033')\[?25h$(printf '\033')\[?1049l" "$tmp/typescript"
}
check "top gives the screen back" screen

npus=$("$accelctl" list -j -p "$pool" | grep -c '"id"')
bench() {
	run "$accelctl" bench qos -j --seconds 1 --flood 40 --incast 3 -p "$pool"
	equal "$status" 0
}
check "bench qos" bench
cp "$tmp/out" "$tmp/bench"
index=0
for row in alone fifo strict strict-windows hybrid bulk-alone flood incast; do
	cp "$tmp/bench" "$tmp/out"
	check "row $row" equal "$(value $index.policy)" $row
	for key in latency_p50_ns latency_p99_ns latency_p999_ns copies; do
		[ $row = bulk-alone ] || check "$row has $key" test "$(value $index.$key)" -gt 0
	done
	[ $row = alone ] || check "$row has bulk" sh -c "[ '$(value $index.bulk_gbps)' != 0.0 ]"
	check "$row has the rest" test "$(value $index.alone_p99_ns)" -gt 0 -a "$(value $index.window_ns)" -gt 0
	index=$((index + 1))
done
check "p99 is not below p50" test "$(value 4.latency_p99_ns)" -ge "$(value 4.latency_p50_ns)"
check "no latency copy was demoted" equal "$(value 4.demoted)" 0
check "the flood's queues" equal "$(value 6.queues)" 40
check "the incast's sources" equal \
	"$(value 7.sources.0.weight) $(value 7.sources.1.weight) $(value 7.sources.2.class)" \
	"64 128 scrub"
check "its NPUs are gone" equal "$("$accelctl" list -j -p "$pool" | grep -c '"id"')" "$npus"
check "its reservation is gone" near $(($(shown ports.0.reserved) - before)) 65536000 1
check "bench leaves the policy" is policy hybrid

check "stat --class" ends 0 "" stat --class -p "$pool"
check "has latency copies" grep -q '^ *[0-9]* latency  *[1-9]' "$tmp/out"
stat_json() {
	run "$accelctl" stat --class -j -p "$pool"
	[ "$status" = 0 ] || return 1
	for key in npu class jobs bytes windows missed demoted refused queue_ns.p50 queue_ns.p99 \
		queue_ns.p999 service_ns.p50 service_ns.p999; do
		value 2.$key > "$tmp/key" || { echo "# $key"; return 1; }
	done
}
check "as JSON" stat_json
check "in order" equal "$(value 2.class) $(value 4.class)" "latency scrub"

# interrupted SIGNAL STATUS: bench ends of it, and puts back what it found.
interrupted() {
	"$accelctl" qos set --policy fifo -p "$pool" > "$tmp/out" 2> "$tmp/err" || return 1
	env --default-signal=$1 "$accelctl" bench qos -j --incast 3 -p "$pool" > "$tmp/out" 2> "$tmp/err" &
	bench=$!
	wait_until sh -c "! '$accelctl' qos show -j -p '$pool' | grep -q '\"policy\": \"fifo\"'" || return 1
	kill -$1 $bench
	wait $bench
	equal $? $2 && [ ! -s "$tmp/out" ] && is policy fifo
}
check "Ctrl-C puts the policy back" interrupted INT 130
check "so does being terminated" interrupted TERM 143
check "and the NPUs are gone" equal "$("$accelctl" list -j -p "$pool" | grep -c '"id"')" "$npus"
"$accelctl" qos set --policy hybrid -p "$pool" > "$tmp/out"
exec 3>&-
wait $holder
check "nobody is left" equal "$(shown ports.0.reserved)" "${before:-0}"
finish
