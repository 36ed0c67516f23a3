# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away test machines: Debian with real systemd, rootless podman and a BTRFS pool, started in seconds."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import typing as t

import deployed
import layers
import platforms
import rootfs
import runs
import saved
import stale
import vm
from nspawn import Machine


def layer(args: argparse.Namespace) -> tuple[pathlib.Path, pathlib.Path | None]:
    """The cached disk, and the pool that belongs to it if there is one."""
    name, dummy, example = args.layer.partition(":")
    if name != "deployed":
        return layers.disk(name, args.suite, args.vm), None
    folder = deployed.deployed(example or "card", args.suite, kind(args), layers.disk("stocked", args.suite, args.vm))
    return folder / "disk.img", folder / "pool.img"


def known_layer(text: str) -> str:
    if text.partition(":")[0] != "deployed" and text not in layers.NAMES:
        raise SystemExit(f"machine: no such layer: {text} ({', '.join(layers.NAMES)}, deployed, deployed:EXAMPLE)")
    return text


def kind(args: argparse.Namespace) -> type[Machine]:
    return vm.VirtualMachine if args.vm else Machine


def create(args: argparse.Namespace) -> None:
    machine = kind(args)(args.name)
    disk, pool = layer(args)
    machine.create(disk, pool, args.network, args.hostname)
    ill = deployed.settle(machine) if pool else []
    if ill:
        raise SystemExit(f"machine: containers of {machine.name} are not healthy: {' '.join(ill)}")


def alias(args: argparse.Namespace) -> None:
    machine = vm.find(args.name)
    if not machine.networks:
        raise SystemExit(f"machine: {args.name} is on no network, so nobody would know it by another name")
    machine.be_called(args.hostname)


def up(args: argparse.Namespace) -> None:
    found = platforms.parse(sys.stdin.read(), args.scenario)
    for one in found:
        create(argparse.Namespace(name=one.machine, layer=known_layer(one.layer), suite=one.suite, vm=one.vm, network=one.networks, hostname=one.name))
        if one.aliases:
            vm.find(one.machine).be_called(one.aliases)
    hosts = {one.name: vm.find(one.machine).host_variables() for one in found}
    write(args.output, platforms.inventory(hosts, platforms.grouped(found)))


def down(args: argparse.Namespace) -> None:
    for one in platforms.parse(sys.stdin.read(), args.scenario):
        vm.find(one.machine).destroy()


def destroy(args: argparse.Namespace) -> None:
    if args.stale:
        said = stale.remove_stale()
        for line in said:
            rootfs.say(line)
        if any(line.startswith("NOT removed") for line in said):
            raise SystemExit(1)
    elif args.all:
        for place in runs.of_checkout():
            stale.remove(place)
            runs.give_back(place, entirely=True)
    elif args.whole_run:
        if not runs.current():
            raise SystemExit("machine: there is no run: HOMELAB_TEST_RUN is not set")
        stale.remove(runs.state_root())
        runs.give_back(runs.state_root(), entirely=True)
    else:
        vm.find(args.name).destroy()


def restart(args: argparse.Namespace) -> None:
    machine = vm.find(args.name)
    if args.hard:
        machine.kill()
    else:
        machine.stop()
    machine.start()


def save(args: argparse.Namespace) -> None:
    machine = vm.find(args.name)
    saved.save(machine, args.tag)
    if machine.leader:
        deployed.settle(machine)


def rewind(args: argparse.Namespace) -> None:
    machine = vm.find(args.name)
    saved.rewind(machine, args.tag)
    deployed.settle(machine)


def connect(args: argparse.Namespace) -> None:
    leader = vm.find(args.name).leader
    if leader is None:
        raise SystemExit(f"machine: {args.name} is not running")
    os.execvp("nsenter", ["nsenter", f"--net=/proc/{leader}/ns/net", "socat", "-", "TCP:127.0.0.1:22"])


def ssh(args: argparse.Namespace) -> None:
    user = ["-l", args.login] if args.login else []
    machine = vm.find(args.name)
    os.execvp("ssh", ["ssh", "-F", str(machine.dir / "ssh_config"), *user, machine.name, *args.command])


def inventory(args: argparse.Namespace) -> None:
    write(args.output, platforms.inventory({args.host or args.name: vm.find(args.name).host_variables()}, {}))


def write(output: str | None, inventory: dict[str, object]) -> None:
    text = json.dumps(inventory, indent=2) + "\n"
    if output:
        pathlib.Path(output).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def show(args: argparse.Namespace) -> None:
    for place in runs.of_checkout():
        for machine in vm.machines(place):
            print(machine.describe())


def build(args: argparse.Namespace) -> None:
    print(layer(args)[0])


def purge(args: argparse.Namespace) -> None:
    rootfs.purge()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="machine", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: t.Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(run=function)
        return sub

    for name, function, text in (
        ("create", create, "make and start a machine"),
        ("build", build, "make the cached disk image only"),
    ):
        sub = verb(name, function, text)
        if name == "create":
            sub.add_argument("name")
            sub.add_argument("--network", action="append", default=[], help="plug it into that network (may be given again), made when it is not there")
            sub.add_argument("--hostname", default="", help="what it calls itself and is called on its networks (default: its name)")
        sub.add_argument("--suite", default="trixie", help="Debian suite (default: trixie)")
        sub.add_argument(
            *("--from", "-f"),
            dest="layer",
            type=known_layer,
            default="stocked",
            metavar="LAYER",
            help="base: Debian alone; stocked: with the offline container images (default); client, registry: company for it; "
            "deployed[:EXAMPLE]: with an example of examples/ (card)",
        )
        sub.add_argument("--vm", action="store_true", help="a virtual machine with a kernel of its own (needs qemu-system-x86)")
    sub = verb("up", up, "make and start the machines of a scenario, whose platforms are on standard input as JSON")
    sub.add_argument("scenario")
    sub.add_argument("--output", "-o", help="write their inventory to this file")
    sub = verb("down", down, "end the machines of a scenario, whose platforms are on standard input as JSON")
    sub.add_argument("scenario")
    sub = verb("destroy", destroy, "end a machine and remove all it had")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?")
    which.add_argument("--run", dest="whole_run", action="store_true", help="all machines and networks of this run (HOMELAB_TEST_RUN)")
    which.add_argument("--all", action="store_true", help="all machines of this checkout, of all its runs")
    which.add_argument("--stale", action="store_true", help="what is left of runs that are gone, of any checkout")
    sub = verb("alias", alias, "let the machines on its networks know a machine by further names")
    sub.add_argument("name")
    sub.add_argument("hostname", nargs="+")
    sub = verb("restart", restart, "reboot a machine")
    sub.add_argument("name")
    sub.add_argument("--hard", action="store_true", help="kill it instead of powering off")
    for name, function, text in (
        ("save", save, "power off, keep disk and pool under a tag (in place of what it named before), start again"),
        ("rewind", rewind, "go back to what was saved under a tag, and start"),
    ):
        sub = verb(name, function, text)
        sub.add_argument("name")
        sub.add_argument("tag")
    sub = verb("ssh", ssh, "log in, or run a command")
    sub.add_argument("--login", "-l", help="account (default: root)")
    sub.add_argument("name")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = verb("inventory", inventory, "print an Ansible inventory for a machine")
    sub.add_argument("name")
    sub.add_argument("--output", "-o", help="write it to this file")
    sub.add_argument("--as", dest="host", metavar="HOST", help="name of the host in the inventory (default: the machine's)")
    sub = verb("connect", connect, "stdin and stdout to the machine's sshd (for ProxyCommand)")
    sub.add_argument("name")
    verb("list", show, "machines of this checkout and its runs, one JSON object a line")
    verb("purge", purge, "remove the cached disk images")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if os.geteuid() != 0 and args.run is not ssh:
        raise SystemExit("machine: run this as root or with sudo")
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that clean-up code runs
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        if args.run in (create, up, build):
            place = runs.claim()
            try:
                args.run(args)
            finally:
                runs.give_back(place)
        else:
            args.run(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except subprocess.CalledProcessError as error:  # it has said on stderr what is wrong
        raise SystemExit(f"machine: {error.cmd[0]} failed ({error.returncode}) in: {' '.join(error.cmd)}") from None


main()
