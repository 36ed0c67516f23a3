#!/bin/sh
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Puts programs in front of podman and systemctl that note each call in /tmp/calls, and that stop for a moment after a call which
# contains the text in /tmp/kill-after, so that kill-module can kill
# the module, which is the parent of the call, there.
set -eu
for program in podman systemctl; do
	cat >"/usr/local/bin/$program" <<X
#!/bin/sh
[ ! -e /tmp/calls ] || echo "$program \$*" >>/tmp/calls
/usr/bin/$program "\$@"
code=\$?
if [ -e /tmp/kill-after ] && [ ! -e /tmp/reached ]; then
	case "$program \$*" in *"\$(cat /tmp/kill-after)"*) echo \$PPID >/tmp/reached.new && mv /tmp/reached.new /tmp/reached && sleep 3 ;; esac
fi
exit \$code
X
done
cat >/usr/local/bin/kill-module <<'X'
#!/bin/sh
while [ ! -e /tmp/reached ]; do sleep 0.05; done
kill -KILL "$(cat /tmp/reached)"
X
chmod 755 /usr/local/bin/podman /usr/local/bin/systemctl /usr/local/bin/kill-module
