#!/bin/sh
# A network outside of the house, with a visitor who has two addresses. Made again after a restart of the machine.
set -eu
ip netns list | grep -qw street && exit 0
ip netns add street
ip link add house type veth peer name visitor netns street
ip address add 192.0.2.1/24 dev house
ip link set house up
ip -netns street address add 192.0.2.10/24 dev visitor
ip -netns street address add 192.0.2.11/24 dev visitor
ip -netns street link set lo up
ip -netns street link set visitor up
echo made
