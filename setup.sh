#!/usr/bin/env bash
# Installs the programs that Virga uses and that are missing here; with the word tests, also what its tests
# use besides. Says what it does; does nothing, and quickly, when all is there. Starts and enables no daemon.
set -euo pipefail
export PATH="$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin"

# what is needed: a program or a file, and the Debian package that brings it
needs='
qemu-system-x86_64                 qemu-system-x86
/usr/share/seabios/bios-256k.bin   seabios
/usr/share/OVMF/OVMF_CODE_4M.fd    ovmf
qemu-img                           qemu-utils
ovsdb-server                       openvswitch-switch
ovs-vswitchd                       openvswitch-switch
ovn-northd                         ovn-central
ovn-controller                     ovn-host
nft                                nftables
ip                                 iproute2
ethtool                            ethtool
mmdebstrap                         mmdebstrap
sfdisk                             fdisk
extlinux                           extlinux
/usr/lib/EXTLINUX/mbr.bin          extlinux
syslinux                           syslinux
/usr/lib/syslinux/modules/bios     syslinux-common
mcopy                              mtools
mkfs.vfat                          dosfstools
mkfs.ext4                          e2fsprogs
cpio                               cpio
depmod                             kmod
/usr/share/doc/busybox-static      busybox-static
ping                               iputils-ping
ps                                 procps
'
if [ "${1:-}" = tests ]; then
	needs+='
chromium                           chromium
'
fi
# units of those packages that Debian would start by itself
units='openvswitch-switch ovs-vswitchd ovsdb-server ovs-record-hostname ovn-central ovn-northd ovn-ovsdb-server-nb ovn-ovsdb-server-sb ovn-host ovn-controller'

policy=/usr/sbin/policy-rc.d
made_policy=

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

there() {
	case $1 in
	/*) [ -e "$1" ] ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# prints the missing things as "thing package", one a line
missing() {
	local thing package
	while read -r thing package; do
		[ -z "$thing" ] || there "$thing" || printf '%s %s\n' "$thing" "$package"
	done <<<"$needs"
}

check_go() {
	local have
	command -v go >/dev/null || fail 'Go 1.26 or newer is not here: install it from https://go.dev/dl/ and put its bin folder on PATH'
	have=$(go env GOVERSION)
	case $have in
	go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.2[0-5]*) fail "$have is too old: Go 1.26 or newer is needed, see https://go.dev/dl/" ;;
	esac
}

tidy_up() { [ -z "$made_policy" ] || rm -f "$policy"; }

# while packages are installed, no daemon of theirs may start
forbid_daemons() {
	trap tidy_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	[ ! -e "$policy" ] || return 0
	made_policy=yes
	printf '#!/bin/sh\n# temporary, made by the setup of Virga\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

try_thrice() {
	local n
	for n in 1 2 3; do
		"$@" && return 0
		[ "$n" = 3 ] || { say "did not work, trying again in $((n * 5)) s: $*"; sleep $((n * 5)); }
	done
	return 1
}

# lists which of our units exist and are enabled now
enabled_units() {
	local unit
	[ -d /run/systemd/system ] || return 0
	for unit in $units; do
		[ "$(systemctl is-enabled "$unit.service" 2>/dev/null || true)" != enabled ] || printf '%s\n' "$unit"
	done
}

install_packages() {
	local packages=$1 before unit
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
	before=$(enabled_units)
	forbid_daemons
	say "installing: $packages"
	try_thrice "${apt[@]}" update || fail 'apt-get update failed three times: is the mirror in /etc/apt reachable?'
	# shellcheck disable=SC2086 # one word a package
	try_thrice "${apt[@]}" install -y --no-install-recommends $packages || fail 'apt-get install failed three times; its own words are above'
	for unit in $(enabled_units); do
		grep -qx "$unit" <<<"$before" || { systemctl disable --now "$unit.service" >/dev/null 2>&1 || true; say "left disabled: $unit.service"; }
	done
}

check_go
lacking=$(missing)
if [ -z "$lacking" ]; then
	exit 0
fi
packages=$(awk '{print $2}' <<<"$lacking" | sort -u | tr '\n' ' ')
things=$(awk '{print $1}' <<<"$lacking" | tr '\n' ' ')
command -v apt-get >/dev/null || fail "missing here: $things. This is no Debian: install them with your distribution's tools (Debian calls the packages: $packages)"
[ "$(id -u)" = 0 ] || fail "missing here: $things. Only root can install them: run \`sudo ./setup.sh\`"
install_packages "$packages"
lacking=$(missing)
[ -z "$lacking" ] || fail "still missing after the installation: $(tr '\n' ' ' <<<"$lacking")"
say 'all programs are here'
