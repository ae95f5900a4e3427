#!/usr/bin/env bash
# Unpacks the QEMU of bookworm-backports into a folder, beside the installed one, and prints the
# path of a program that runs it. Nothing is installed. QEMU processes run as users without rights, so
# the folder must be one that everybody may enter.
set -euo pipefail
dir=${1:-/var/tmp/virga-qemu-backports}
run=$dir/qemu-system-x86_64
if [ -x "$run" ]; then echo "$run"; exit 0; fi

mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null | awk '$2 == "bookworm" && $1 !~ /security/ { print $1; exit }')
mkdir -p "$dir/lists/partial" "$dir/debs" "$dir/root"
echo "deb ${mirror:-http://deb.debian.org/debian} bookworm-backports main" >"$dir/sources.list"
apt=(apt-get -q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$dir/lists" -o Acquire::Retries=3 -o APT::Sandbox::User=root)
"${apt[@]}" update >&2
(cd "$dir/debs" && "${apt[@]}" download qemu-system-x86 qemu-system-common qemu-system-data seabios >&2)
for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
cat >"$run.new" <<END
#!/bin/sh
QEMU_MODULE_DIR=$dir/root/usr/lib/x86_64-linux-gnu/qemu exec $dir/root/usr/bin/qemu-system-x86_64 -L $dir/root/usr/share/qemu -L $dir/root/usr/share/seabios -L /usr/lib/ipxe/qemu "\$@"
END
chmod 755 "$run.new"
mv "$run.new" "$run"
echo "$run"
