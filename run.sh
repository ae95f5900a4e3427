#!/usr/bin/env bash
# From a built binary to the first running VM. May be run again at any time: what is there stays.
set -euo pipefail
virga=${VIRGA:-./bin/virga}
image=${IMAGE:-tiny}
name=${NAME:-hello}

[ "$(id -u)" = 0 ] || { echo 'run: Virga starts VMs, switches and disks; run this as root: `sudo make run`' >&2; exit 1; }

has() { "$virga" "$1" show "$2" -o name >/dev/null 2>&1; }

"$virga" up
if ! has image "$image"; then
	echo "run: building image $image"
	"$virga" image build "$image" --wait
fi
if ! has vm "$name"; then
	echo "run: creating VM $name"
	"$virga" vm create "$name" --image "$image" --wait
fi
"$virga" vm show "$name"
cat <<END

$name is running. The console is in a browser at the address above. Next:
  $virga vm console $name          its serial console (leave with Ctrl-])
  $virga vm list                   all VMs
  $virga explain vm $name          why it is as it is
  $virga vm create web --image $image --cpus 1 --memory 256MiB --wait
  $virga down                      end the daemon; VMs go on
  $virga down --all                remove everything of Virga from this host
END
