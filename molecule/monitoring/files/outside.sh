#!/bin/sh
# A network beyond the machine, so that containers can reach the machine at all. There has to be one before the first container starts.
set -eu
ip netns list | grep -qw outside && exit 0
ip netns add outside
ip link add house type veth peer name beyond netns outside
ip address add 192.0.2.1/24 dev house
ip link set house up
ip -netns outside address add 192.0.2.10/24 dev beyond
ip -netns outside link set beyond up
ip route add default via 192.0.2.10
echo made
