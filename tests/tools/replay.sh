#!/bin/sh
# SPDX-License-Identifier: MIT
# Replays by several processes, what they print, and every way to end otherwise than well.
. "$(dirname "$0")/helper/tap.sh"
json=$(helper json)
requests=$((4000 * scale / 100))

keys() {
	for key in pool trace workers capacity_blocks block_bytes requests block_refs block_hits \
		hit_ratio evictions bytes_put bytes_got wrong_blocks put_ns.p50 put_ns.p99 get_ns.p50 \
		get_ns.p99 seconds decode_misses; do
		value $key > /dev/null || { echo "# no $key"; return 1; }
	done
}

# replayed WORKERS CAPACITY BLOCK_BYTES OPTION...: nothing wrong, and the sums add up.
replayed() {
	workers=$1 capacity=$2 bytes=$3
	shift 3
	run "$accelctl" replay -q -j -p "$pool" -n $requests -w "$workers" -c "$capacity" -b "$bytes" "$@"
	equal "$status" 0 && keys || return 1
	refs=$(value block_refs) hits=$(value block_hits) stale=$(value stale_reads)
	reads=$((hits + $(value decode_refs) - $(value decode_misses)))
	size=$(value block_bytes)
	equal "$(value wrong_blocks)" 0 && equal "$(value requests)" $requests &&
		equal "$(value decode_refs)" "$refs" &&
		equal "$(value bytes_put)" $(($(value published) * size)) &&
		equal "$(value bytes_got)" $(((reads - stale) * size)) &&
		equal $((refs - hits)) $(($(value published) + $(value duplicates) + $(value unstored))) &&
		[ "$hits" -gt 0 ] && [ "$(value put_ns.p50)" -gt 0 ] && [ "$(value get_ns.p99)" -gt 0 ]
}

ratio() {
	awk -v r="$(value hit_ratio)" -v h="$(value block_hits)" -v n="$(value block_refs)" \
		'BEGIN { d = r - h / n; exit !(d * d < 1e-18) }'
}

check "one worker of each role" replayed 1 1000 4K
check "hit_ratio is hits by references" ratio
check "two of each" replayed 2 1000 4K
check "two of each, verified" replayed 2 1000 4K --verify
check "and audited" equal "$(value audit_faults)" 0
check "four of each in a cache that is far too small" replayed 4 60 4K --verify
check "checksums alone" replayed 2 500 64 --checksum
check "blocks of 64 KiB" replayed 2 400 64K
check "a lone block" replayed 2 1 64
check "nobody evicts with room for all" replayed 1 100000 64
check "no eviction" equal "$(value evictions)" 0
check "no decode miss" equal "$(value decode_misses)" 0

table() {
	run "$accelctl" replay -p "$pool" -n 50 -c 100 -b 4K -q
	[ "$status" = 0 ] && grep -q '^wrong blocks  *0$' "$tmp/out" && grep -q '^pool ' "$tmp/out"
}
check "the table" table

silent() {
	run "$accelctl" replay -p "$pool" -n 50 -c 100 -b 4K -q -j
	[ ! -s "$tmp/err" ] && "$json" < "$tmp/out"
}
check "with -q and -j nothing but JSON" silent

says_pool() {
	run "$accelctl" replay -n 50 -c 100 -b 4K -q -j
	grep -qE "using pool (drm|soft):" "$tmp/err"
}
check "says which pool it took" says_pool

check "no such device" ends 4 "drm:/dev/accel/none" replay -q -p drm:/dev/accel/none -n 10
check "no such scheme" ends 2 "hard:x" replay -q -p hard:x -n 10
check "a broken address" ends 2 "soft:" replay -q -p "soft:" -n 10
check "a device that is none" ends 4 "drm:/dev/null" replay -q -p drm:/dev/null -n 10
# Root may do anything, so somebody else tries.
not_allowed() {
	chmod 755 "$tmp"
	cp "$accelctl" "$tmp/accelctl"
	printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups %s "$@"\n' \
		"$tmp/accelctl" > "$tmp/as-nobody"
	chmod 755 "$tmp/as-nobody"
	run "$tmp/as-nobody" replay -q -p "$NPOOL_TEST_URI" -n 9
	equal "$status" 4 && grep -q "$NPOOL_TEST_URI" "$tmp/err"
}
case ${NPOOL_TEST_URI-} in
drm:*)	check "a device that is not allowed" not_allowed ;;
esac
check "a full pool" ends 5 "lower --capacity-blocks" replay -q -p "$pool" -n 10 -c 1000000 -b 1M
check "a pool too small" ends 5 "soft:small-$$" replay -q -p "soft:small-$$?npus=2&size=1M" -n 10

interleaved() {
	run "$accelctl" replay -q -j -p "soft:wide-$$?npus=4&size=8M" -n 100 -c 300 -b 64K --verify
	equal "$status" 0 && equal "$(value wrong_blocks)" 0
}
check "a cache larger than an NPU lies on several" interleaved

# A soft pool's buffers are memfds, so that somebody else can spoil the blocks at their end.
spoil() {
	for fd in /proc/"$1"/fd/*; do
		case $(readlink "$fd") in
		*npool-control*)	continue ;;
		*memfd:*) ;;
		*)	continue ;;
		esac
		size=$(stat -L -c %s "$fd") || continue
		[ "$size" -ge 8388608 ] || continue
		head -c 1048576 /dev/urandom |
			dd of="$fd" bs=65536 seek=$((size / 65536 - 16)) conv=notrunc iflag=fullblock
	done 2>/dev/null
}

# spoiled OPTION...: wrong bytes are seen, counted, told, and end in status 1.
spoiled() {
	"$accelctl" replay -q -j -p "$pool" -n 3000 -c 400 -b 64K "$@" > "$tmp/out" 2> "$tmp/err" &
	parent=$!
	while kill -0 $parent 2>/dev/null; do
		spoil $parent
	done
	wait $parent
	equal $? 1 && [ "$(value wrong_blocks)" -gt 0 ] && grep -q "wrong bytes" "$tmp/err"
}
if [ -z "${NPOOL_TEST_URI-}" ]; then
	check "wrong bytes are found" spoiled
	check "wrong bytes are found by two of each" spoiled -w 2
fi

left() {
	grep -c "@npool/.*/\(test\|small\|wide\)-$$/" /proc/net/unix
}
check "nothing left of the pools" equal "$(left)" 0
finish
