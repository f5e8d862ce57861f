#!/bin/sh
# SPDX-License-Identifier: MIT
# bench ep: its rows, its errors, its peer (one that only speaks as MPI's would), and what it leaves.
. "$(dirname "$0")/helper/tap.sh"
json=$(helper json)
small="--tokens 8 --hidden 64 --top-k 2 --experts 4 --turns 5"

check "bench ep --help" sh -c "'$accelctl' bench ep --help | grep -q 'Usage: accelctl bench ep '"
check "unknown option" ends 2 "--nonsense" bench ep --nonsense
check "too many arguments" ends 2 "'more'" bench ep more
for option in ranks tokens hidden top-k experts turns; do
	check "--$option 0" ends 2 "--$option: '0'" bench ep --$option 0
done
check "--hidden 33" ends 2 "--hidden: '33'" bench ep --hidden 33
check "ranks that do not divide" ends 2 "divide" bench ep --ranks 3
check "more choices than experts" ends 2 "top-k" bench ep --experts 4 --top-k 8
check "no such device" ends 4 "drm:/dev/accel/none" bench ep -p drm:/dev/accel/none

# At 320 ranks no more than 160 MB, where a place for each takes 645.
memory() {
	run "$accelctl" bench ep --memory --tokens 96 --json
	[ "$status" = 0 ] && equal "$(value 6.ranks)" 320 && equal "$(value 6.place_bytes)" 676331520 &&
		[ "$(value 6.bytes)" -le 160000000 ] && [ "$(value 6.bytes)" -gt 1000000 ] &&
		[ -z "$(value 7.ranks)" ]
}
check "memory" memory

mkdir "$tmp/bin"
cat > "$tmp/bin/mpirun" <<'PEER'
#!/bin/sh
while read -r op impl route turns && [ -n "$op" ]; do
	echo "$op $impl $route" >> "$ASKED"
	i=0
	while [ $i -lt "$turns" ]; do
		i=$((i + 1))
		printf '%d ' 123456
	done
	echo
	[ -z "${END_EARLY-}" ] || exit
done
PEER
chmod +x "$tmp/bin/mpirun"

# bench OPTION...: a small one, on the pool under test.
bench() {
	# shellcheck disable=SC2086 # options
	run env ASKED="$tmp/asked" PATH="$tmp/bin:$PATH" "$accelctl" bench ep $small -p "$pool" "$@"
}

free_bytes() {
	run "$accelctl" info -j -p "$pool"
	value bytes_free
}

# rows PEERS: the rows of the list in $tmp/out, all that must be, in this order.
rows() {
	row=0
	for op in dispatch combine; do
		for route in expert rank; do
			for impl in npool npool_noquant npool_packed npool_indexed npool_copied $1; do
				case $op$impl in
				dispatchnpool_copied | combinenpool_[nip]*) continue ;;
				esac
				equal "$(value $row.op)" $op && equal "$(value $row.impl)" "$impl" &&
					equal "$(value $row.route)" $route && equal "$(value $row.ranks)" 2 &&
					equal "$(value $row.tokens)" 8 && equal "$(value $row.hidden)" 64 &&
					equal "$(value $row.top_k)" 2 || return 1
				awk -v median="$(value $row.median_us)" -v p99="$(value $row.p99_us)" \
					-v bytes="$(value $row.bytes)" \
					'BEGIN { exit !(0 < median && median <= p99 && 0 < bytes) }' || return 1
				row=$((row + 1))
			done
		done
	done
	[ -z "$(value $row.op)" ]
}

alone() {
	bench --mpi "$tmp/none" --json
	[ "$status" = 0 ] && grep -q "without the MPI peer" "$tmp/err" && rows ""
}

beside() {
	bench --mpi /bin/true --json
	[ "$status" = 0 ] && rows "mpi_alltoallv mpi_window" &&
		equal "$(value 4.median_us)" 123.456 && equal "$(sort -u "$tmp/asked" | wc -l)" 8
}

table() {
	bench --mpi /bin/true
	[ "$status" = 0 ] && [ "$(grep -c '^dispatch .* npool' "$tmp/out")" = 8 ] &&
		grep -q '^combine  *rank  *mpi_window ' "$tmp/out"
}

peer_ends() {
	END_EARLY=1 bench --mpi /bin/true
	[ "$status" = 6 ] && grep -q "the MPI peer ended" "$tmp/err"
}

before=$(free_bytes)
check "without a peer" alone
check "beside a peer" beside
check "table" table
check "a peer that ends" peer_ends
settled() {
	[ "$(free_bytes)" = "$before" ]
}
check "nothing is left in the pool" wait_until settled
finish
