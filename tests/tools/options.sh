#!/bin/sh
# SPDX-License-Identifier: MIT
# Help, version, and impossible options: exit status 2 and a message that names option and value.
. "$(dirname "$0")/helper/tap.sh"

says() {
	run "$accelctl" "$@"
	[ "$status" = 0 ] && [ -s "$tmp/out" ] && [ ! -s "$tmp/err" ]
}

check "help" says --help
check "version" says --version
for command in list info stat doctor npu replay trace qos top bench; do
	check "$command --help" says $command --help
	check "$command -h" says $command -h
	check "$command is in the help" sh -c "'$accelctl' --help | grep -q '  $command '"
	check "$command: unknown option" ends 2 "--nonsense" $command --nonsense
	check "$command: unknown letter" ends 2 "-Z" $command -Z
done
check "no command" ends 2 "Usage"
check "unknown command" ends 2 "'nonsense'" nonsense

check "too many arguments" ends 2 "'more'" list more
check "too few arguments" ends 2 "needs" npu add
check "option without its value" ends 2 "--pool" info --pool
check "flag with a value" ends 2 "--json" info --json=yes
check "empty value" ends 2 "--pool" info --pool ""

# bad OPTION VALUE...: each must be refused, by name.
bad() {
	option=$1
	shift
	for value; do
		check "replay $option '$value'" ends 2 "$option: '$value'" replay "$option" "$value"
	done
}
bad --workers 0 -1 +1 many 1.5 1x "" " 1" 65 99999999999999999999
bad --capacity-blocks 0 -5 ten 18446744073709551616 1073741825
bad --block-bytes 0 1 63 100 65537 -64 64X 64KB K 2G 99999999999T 18446744073709551615
bad --requests 0 -1 all 16777217
bad --seed -1 x 18446744073709551616
check "trace --requests 0" ends 2 "--requests: '0'" trace --requests 0
check "trace --json without --output" ends 2 "--output" trace --json
check "stat --watch 0" ends 2 "--watch: '0'" stat --watch 0
check "stat --count without --watch" ends 2 "--watch" stat --count 2

for words in "add" "grow x" "remove x" "remove -1" "remove 4294967296" "remove 1 2" "inject 0" \
	"inject 0 fire" "inject 0 alloc" "inject 0 alloc x" "inject 0 die 1" \
	"add abcdefghijklmnopqrstuvwxyz0123456789"; do
	check "npu $words" ends 2 "npu" npu $words
done
check "npu add --size 0" ends 2 "--size: '0'" npu add a --size 0
check "npu add --bandwidth fast" ends 2 "--bandwidth: 'fast'" npu add a --bandwidth fast
finish
