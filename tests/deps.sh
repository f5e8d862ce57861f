#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/deps.sh demo|check|debug|lint|bench|module|source...: says which packages these parts of the tree lack and
# installs them. As root or with a password-free sudo it uses apt-get; otherwise, and on a system
# without apt-get, it prints what to install and fails. Says nothing when all is there.
set -u

# The kernel packages are those of Debian 12's security suite, else of its backports.
build="gcc make libc6-dev pkg-config libdrm-dev libxxhash-dev libjson-c-dev"
source="linux-source-6.12 xz-utils"
vm="$source qemu-system-x86 busybox-static cpio kmod"
checks="$build $vm g++ clang"
kernel="flex bison bc libelf-dev libssl-dev rsync"

wanted() {
	for set; do
		case $set in
		demo)	echo "$build" ;;
		check)	echo "$checks headers" ;;
		debug)	echo "$checks headers $kernel" ;;
		module)	echo "gcc make $([ -n "${KDIR-}" ] || echo headers)" ;;
		source)	echo "$source" ;;
		lint)	echo "$build $source headers sparse perl python3 shellcheck man-db groff git" ;;
		bench)	echo "$build $kernel $source memcached openmpi-bin libopenmpi-dev" ;;
		*)	echo "tests/deps.sh: no set $set" >&2; exit 2 ;;
		esac
	done | tr ' ' '\n' | sort -u
}

installed() {
	if [ "$1" = headers ]; then
		set -- /usr/src/linux-headers-6.12.*-amd64
		[ -d "$1" ]
	else
		dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
	fi
}

missing() {
	for package in $(wanted "$@"); do
		installed "$package" || echo "$package"
	done
}

has_candidate() {
	[ -n "$1" ] && LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'
}

# The headers' name holds the kernel's version: the newest there is, of the plain flavour.
resolve() {
	if [ "$1" = headers ]; then
		apt-cache pkgnames linux-headers-6.12. | grep -E '^linux-headers-6\.12\.[0-9a-z.+~]+-amd64$' |
			sort -V | tail -n 1
	else
		echo "$1"
	fi
}

available() {
	for package; do
		has_candidate "$(resolve "$package")" || return 1
	done
}

root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# The entry of a sources file that has this address, asking for another suite; both formats.
entry() {
	case $1 in
	*.sources)
		awk -v to="$suite" -v url="$url" 'BEGIN { RS = "" }
			index($0, url) && sub(/(^|\n)Suites:[^\n]*/, "\nSuites: " to) { print; exit }' "$1" ;;
	*)
		awk -v to="$suite" -v url="$url" -v from="$codename" '$1 == "deb" && index($0, url) {
			for (i = 2; i < NF; i++)
				if ($i == from) { $i = to; print; exit }
			}' "$1" ;;
	esac
}

# From the servers that this machine gets Debian itself from.
add_backports() {
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	suite=$codename-backports
	url=$(LC_ALL=C apt-cache policy base-files |
		awk -v suite="$codename/main" '$3 == suite { print $2; exit }')
	[ -n "$url" ] || return 1
	for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
		[ ! -f "$file" ] || entry "$file" > "$tmp"
		[ -s "$tmp" ] || continue
		to=/etc/apt/sources.list.d/npool-backports.${file##*.}
		echo "npool: adding the package suite $suite in $to"
		root install -m 644 "$tmp" "$to"
		return
	done
	return 1
}

refuse() {
	echo "npool: $*" >&2
	exit 1
}

get() {
	# shellcheck disable=SC2086 # names, plural
	if ! available $lack; then
		echo "npool: reading the package lists"
		root apt-get -qq update
		available $lack || { add_backports && root apt-get -qq update; }
	fi
	names=
	for package in $lack; do
		name=$(resolve "$package")
		has_candidate "$name" ||
			refuse "no package $package here; it needs Debian 12 or later with its kernel 6.12"
		names="$names $name"
	done
	echo "npool: installing$names"
	# shellcheck disable=SC2086
	root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 install $names > "$log" 2>&1 < /dev/null ||
		{ tail -n 20 "$log" >&2; refuse "apt-get could not install$names"; }
}

[ $# -gt 0 ] || { echo "usage: tests/deps.sh demo|check|debug|lint|bench|module|source..." >&2; exit 2; }
if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
	echo "npool: not a Debian; what these Debian packages hold must be there:" \
		"$(wanted "$@" | tr '\n' ' ')" >&2
	exit
fi
lack=$(missing "$@" | tr '\n' ' ')
[ -n "$lack" ] || exit 0
echo "npool: missing here: $lack"
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
	refuse "not allowed to install; run as root: $(cd "$(dirname "$0")" && pwd)/deps.sh $*"
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
log=$dir/log tmp=$dir/suite
get
