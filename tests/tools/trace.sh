#!/bin/sh
# SPDX-License-Identifier: MIT
# Traces: the generator's statistics, and every kind of line that must be refused with its place.
. "$(dirname "$0")/helper/tap.sh"
lru=$(helper lru)
json=$(helper json)

# statistics SEED: as published for an hour of the Mooncake conversation trace.
statistics() {
	"$accelctl" trace --seed "$1" -o "$tmp/trace" 2> "$tmp/err" || return 1
	"$lru" "$tmp/trace" > "$tmp/out" || return 1
	read -r requests refs unique once steps fit < "$tmp/out"
	equal "$requests" 12031 && near "$refs" 288500 4 && near "$unique" 182790 4 &&
		near $((once * 1000 / unique)) 760 4 && equal "$steps" 1 && equal "$fit" 1 &&
		near $(((refs - unique) * 10000 / refs)) 3660 4
}

same() {
	"$accelctl" trace --requests 500 --seed 7 > "$tmp/a" 2> "$tmp/err" &&
		"$accelctl" trace --requests 500 -s 7 > "$tmp/b" && cmp "$tmp/a" "$tmp/b"
}

differs() {
	"$accelctl" trace --requests 500 --seed 8 > "$tmp/b" && ! cmp -s "$tmp/a" "$tmp/b"
}

# The first requests do not depend on how many follow.
prefix() {
	"$accelctl" trace --requests 200 --seed 7 > "$tmp/b" &&
		head -n 200 "$tmp/a" | cmp - "$tmp/b"
}

json_out() {
	run "$accelctl" trace --requests 100 -j -o "$tmp/trace"
	[ "$status" = 0 ] && [ ! -s "$tmp/err" ] && equal "$(value requests)" 100 &&
		equal "$(value trace)" "$tmp/trace"
}

check "statistics of the default seed" statistics 1
check "statistics of another seed" statistics 42
check "a seed is a trace" same
check "another seed is another trace" differs
check "a shorter trace is the beginning of a longer one" prefix
check "what was written, as JSON" json_out
check "every line is JSON" sh -c "test -s '$tmp/a' && head -n 50 '$tmp/a' | while read -r line; do
	echo \"\$line\" | '$json' hash_ids.0 > /dev/null || exit 1; done"
check "an output that cannot be opened" ends 6 "$tmp/no/trace" trace -n 10 -o "$tmp/no/trace"
if [ -c /dev/full ]; then
	check "an output that is full" ends 6 "/dev/full" trace -n 100 -o /dev/full
	check "and is left in place" test -c /dev/full
fi

good='{"timestamp": 0, "input_length": 1024, "output_length": 5, "hash_ids": [0, 1]}'

# refused NAME TEXT LINE: as the third line of a file whose second is blank.
refused() {
	printf '%s\n\n%s\n%s\n' "$good" "$3" "$good" > "$tmp/bad"
	check "$1" ends 3 "$tmp/bad:3: $2" replay -q --pool "$pool" --trace "$tmp/bad"
}
refused "no JSON" "column " 'nonsense'
refused "cut off" "column" '{"timestamp": 0, "input_length": 10'
refused "cut off in a list" "column" '{"timestamp": 0, "hash_ids": [1, 2'
refused "comma at the end" "column" '{"timestamp": 0, "hash_ids": [1,],}'
refused "something after it" "column 80:" "$good x"
refused "two on a line" "column 80:" "$good $good"
refused "a list" "is not a JSON object" '[1, 2]'
refused "a number" "is not a JSON object" '17'
refused "null" "is not a JSON object" 'null'
refused "an empty object" 'has no "timestamp"' '{}'
refused "no input_length" 'has no "input_length"' '{"timestamp": 0, "output_length": 1, "hash_ids": [1]}'
refused "no output_length" 'has no "output_length"' '{"timestamp": 0, "input_length": 1, "hash_ids": [1]}'
refused "no hash_ids" 'has no "hash_ids"' '{"timestamp": 0, "input_length": 1, "output_length": 1}'

# member NAME TEXT TIMESTAMP INPUT OUTPUT IDS
member() {
	refused "$1" "$2" "{\"timestamp\": $3, \"input_length\": $4, \"output_length\": $5, \"hash_ids\": $6}"
}
member "timestamp is text" '"timestamp" is not a whole' '"0"' 512 1 '[1]'
member "timestamp is a fraction" '"timestamp" is not a whole' 0.5 512 1 '[1]'
member "timestamp is negative" '"timestamp" is negative' -1 512 1 '[1]'
member "timestamp is huge" '"timestamp" is above' 99999999999999999999 512 1 '[1]'
member "input_length is null" '"input_length" is not a whole' 0 null 1 '[1]'
member "input_length is negative" '"input_length" is negative' 0 -512 1 '[1]'
member "input_length is huge" '"input_length" is above' 0 1099511627776 1 '[1]'
member "output_length is a list" '"output_length" is not a whole' 0 512 '[]' '[1]'
member "output_length is huge" '"output_length" is above' 0 512 1099511627776 '[1]'
member "hash_ids is a number" '"hash_ids" is not a list' 0 512 1 7
member "hash_ids is empty" '"hash_ids" is empty' 0 512 1 '[]'
member "hash_ids has text" '"hash_ids"[1] is not a whole' 0 1024 1 '[1, "2"]'
member "hash_ids has null" '"hash_ids"[0] is not a whole' 0 1024 1 '[null]'
member "hash_ids has a negative" '"hash_ids"[1] is negative' 0 1024 1 '[1, -2]'
member "hash_ids has a huge one" '"hash_ids"[0] is above' 0 512 1 '[18446744073709551616]'
member "more blocks than tokens" '3 "hash_ids" for "input_length" 2' 0 2 1 '[1, 2, 3]'
member "too many hash ids" '"hash_ids" has 65537 items' 0 99999999 1 "[$(seq -s , 65537)]"

printf '%s\n%s\n' '{"timestamp": 9, "input_length": 9, "output_length": 1, "hash_ids": [1]}' "$good" \
	> "$tmp/bad"
check "time goes back" ends 3 "$tmp/bad:2: \"timestamp\"" replay -p "$pool" -t "$tmp/bad"
printf '%s\n{"timestamp": 0, \000}\n' "$good" > "$tmp/bad"
check "a zero byte" ends 3 "$tmp/bad:2: a zero byte" replay -p "$pool" -t "$tmp/bad"
head -c 5000000 /dev/zero | tr '\0' 'x' > "$tmp/bad"
check "a line too long" ends 3 "$tmp/bad:1: longer" replay -p "$pool" -t "$tmp/bad"
: > "$tmp/bad"
check "an empty file" ends 3 "$tmp/bad: holds no request" replay -p "$pool" -t "$tmp/bad"
printf '\n \t\n\r\n' > "$tmp/bad"
check "blank lines alone" ends 3 "$tmp/bad: holds no request" replay -p "$pool" -t "$tmp/bad"
check "no such file" ends 3 "$tmp/none: No such file" replay -p "$pool" -t "$tmp/none"
check "a folder" ends 3 "$tmp" replay -p "$pool" -t "$tmp"

accepted() {
	printf '\n%s\r\n\n  %s  ' "$good" "$good" > "$tmp/good"
	run "$accelctl" replay -q -j -p "$pool" -t "$tmp/good" -c 10 -b 64
	equal "$status" 0 && equal "$(value requests)" 2 && equal "$(value block_hits)" 2
}
check "blank lines, blanks, CR and no last newline are fine" accepted

from_stdin() {
	"$accelctl" replay -q -j -p "$pool" -t - -c 10 -b 64 < "$tmp/good" > "$tmp/out" 2> "$tmp/err" &&
		equal "$(value requests)" 2
}
check "from stdin" from_stdin
finish
