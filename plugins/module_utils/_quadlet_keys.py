# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every quadlet key: since which podman, what value it takes, how the generator reads it, which podman flag it becomes.

Made by tests/tools/make_quadlet_keys.py; change the table there. Private to the collection.
"""

from __future__ import annotations

import typing as t


class Key(t.NamedTuple):
    """One key of a quadlet section.

    lookup tells how the generator reads it: last, last_bool, all, all_strv, all_args, all_keyval or last_args.
    """

    since: tuple[int, int]
    value: str
    lookup: str
    repeatable: bool
    flag: str | None
    deprecated: bool


class UnitType(t.NamedTuple):
    section: str
    since: tuple[int, int]
    keys: dict[str, Key]


def _types(table: str) -> dict[str, UnitType]:
    found: dict[str, UnitType] = {}
    for line in table.strip().splitlines():
        name, marks, since, value, *rest = line.split(None, 5)
        if marks == "=":
            found[name] = unit_type = UnitType(value, _version(since), {})
        else:
            unit_type.keys[name] = Key(_version(since), value, rest[0], "*" in marks, rest[1] if rest[1:] else None, "!" in marks)
    return found


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


# Line of a type: name = since section. Line of a key: name, marks (* repeatable, ! deprecated, - none), since, value, lookup,
# podman flag if there is one.
TYPES = _types(
    """
container = 4.4 Container
AddCapability * 4.4 string_list all_strv --cap-add
AddDevice * 4.4 string_list all_strv --device
AddHost * 5.3 string all --add-host
Annotation * 4.4 keyval all_keyval --annotation
AppArmor - 5.8 string last --security-opt apparmor=
AutoUpdate - 4.6 enum:registry,local last --label io.containers.autoupdate=
CgroupsMode - 5.3 enum:enabled,disabled,no-conmon,split last --cgroups
ContainerName - 4.4 string last --name
ContainersConfModule * 4.8 string all --module
DNS * 4.7 ip all --dns
DNSOption * 4.7 string all --dns-option
DNSSearch * 4.7 string all --dns-search
DropCapability * 4.4 string_list all_strv --cap-drop
Entrypoint - 5.0 string last --entrypoint
Environment * 4.4 keyval all_keyval --env
EnvironmentFile * 4.4 path all_args --env-file
EnvironmentHost - 4.4 bool last_bool --env-host
Exec - 4.4 argv last_args
ExposeHostPort * 4.4 string all --expose
GIDMap * 4.8 string_list all_strv --gidmap
GlobalArgs * 4.8 arg_list all_args
Group - 4.4 string last --user :group
GroupAdd * 5.1 string all --group-add
HealthCmd - 4.5 string|json_array last --health-cmd
HealthInterval - 4.5 duration|disable last --health-interval
HealthLogDestination - 5.3 enum:local,events_logger,path last --health-log-destination
HealthMaxLogCount - 5.3 int last --health-max-log-count
HealthMaxLogSize - 5.3 int last --health-max-log-size
HealthOnFailure - 4.5 enum:none,kill,restart,stop last --health-on-failure
HealthRetries - 4.5 int last --health-retries
HealthStartPeriod - 4.5 duration last --health-start-period
HealthStartupCmd - 4.5 string|json_array last --health-startup-cmd
HealthStartupInterval - 4.5 duration|disable last --health-startup-interval
HealthStartupRetries - 4.5 int last --health-startup-retries
HealthStartupSuccess - 4.5 int last --health-startup-success
HealthStartupTimeout - 4.5 duration last --health-startup-timeout
HealthTimeout - 4.5 duration last --health-timeout
HostName - 4.6 string last --hostname
HttpProxy - 5.7 bool last_bool --http-proxy
IP - 4.5 ip last --ip
IP6 - 4.5 ip6 last --ip6
Image - 4.4 string last
Label * 4.4 keyval all_keyval --label
LogDriver - 4.5 string last --log-driver
LogOpt * 5.2 string_list all_strv --log-opt
Mask * 4.6 arg_list all_args --security-opt mask=
Memory - 5.5 size last --memory
Mount * 4.5 arg_list all_args --mount
Network * 4.4 string all --network
NetworkAlias * 5.2 string all --network-alias
NoNewPrivileges - 4.4 bool last_bool --security-opt no-new-privileges
Notify - 4.4 bool|healthy last --sdnotify
PidsLimit - 4.7 int last --pids-limit
Pod - 5.0 string last --pod
PodmanArgs * 4.4 arg_list all_args
PublishPort * 4.4 string all --publish
Pull - 4.6 enum:always,missing,never,newer last --pull
ReadOnly - 4.4 bool last_bool --read-only
ReadOnlyTmpfs - 4.8 bool last_bool --read-only-tmpfs
ReloadCmd - 5.5 argv last_args
ReloadSignal - 5.5 string last
RemapGid *! 4.4 string_list all_strv
RemapUid *! 4.4 string_list all_strv
RemapUidSize ! 4.4 int last
RemapUsers ! 4.4 string last
Retry - 5.5 int last --retry
RetryDelay - 5.5 duration last --retry-delay
Rootfs - 4.5 string last
RunInit - 4.4 bool last_bool --init
SeccompProfile - 4.4 string last --security-opt seccomp=
Secret * 4.5 arg_list all_args --secret
SecurityLabelDisable - 4.5 bool last_bool --security-opt label=disable
SecurityLabelFileType - 4.5 string last --security-opt label=filetype:
SecurityLabelLevel - 4.5 string last --security-opt label=level:
SecurityLabelNested - 4.6 bool last_bool --security-opt label=nested
SecurityLabelType - 4.5 string last --security-opt label=type:
ServiceName - 5.3 string last
ShmSize - 4.7 size last --shm-size
StartWithPod - 5.3 bool last_bool
StopSignal - 5.2 string last --stop-signal
StopTimeout - 5.0 int last --stop-timeout
SubGIDMap - 4.8 string last --subgidname
SubUIDMap - 4.8 string last --subuidname
Sysctl * 4.6 string_list all_strv --sysctl
Timezone - 4.4 string last --tz
Tmpfs * 4.5 string all --tmpfs
UIDMap * 4.8 string_list all_strv --uidmap
Ulimit * 4.7 string all --ulimit
Unmask * 4.6 arg_list all_args --security-opt unmask=
User - 4.4 string last --user
UserNS - 4.5 string last --userns
VolatileTmp ! 4.4 bool last_bool
Volume * 4.4 string all -v
WorkingDir - 4.6 string last --workdir
volume = 4.4 Volume
ContainersConfModule * 4.8 string all --module
Copy - 4.4 bool last_bool --opt copy|nocopy
Device - 4.4 string last --opt device=
Driver - 4.8 string last --driver
GID - 6.0 string last --gid
GlobalArgs * 4.8 arg_list all_args
Group - 4.4 int last --opt o=gid=
Image - 4.8 string last --opt image=
Label * 4.4 keyval all_keyval --label
Options - 4.4 string last --opt o=
PodmanArgs * 4.6 arg_list all_args
ServiceName - 5.3 string last
Type - 4.4 string last --opt type=
UID - 6.0 string last --uid
User - 4.4 int last --opt o=uid=
VolumeName - 4.7 string last
network = 4.4 Network
ContainersConfModule * 4.8 string all --module
DNS * 4.7 ip all --dns
DisableDNS - 4.4 bool last_bool --disable-dns
Driver - 4.4 string last --driver
Gateway * 4.4 ip all --gateway
GlobalArgs * 4.8 arg_list all_args
IPAMDriver - 4.4 string last --ipam-driver
IPRange * 4.4 cidr|ip-ip all --ip-range
IPv6 - 4.4 bool last_bool --ipv6
InterfaceName - 5.6 string last --interface-name
Internal - 4.4 bool last_bool --internal
Label * 4.4 keyval all_keyval --label
NetworkDeleteOnStop - 5.5 bool last_bool
NetworkName - 4.7 string last
Options * 4.4 keyval all_keyval --opt
PodmanArgs * 4.6 arg_list all_args
ServiceName - 5.3 string last
Subnet * 4.4 cidr all --subnet
kube = 4.4 Kube
AutoUpdate - 4.7 enum:registry,local last --label io.containers.autoupdate=
ConfigMap * 4.4 string_list all_strv --configmap
ContainersConfModule * 4.8 string all --module
ExitCodePropagation - 4.6 enum:all,any,none last --service-exit-code-propagation
GlobalArgs * 4.8 arg_list all_args
KubeDownForce - 4.8 bool last_bool --force
LogDriver - 4.5 string last --log-driver
LogOpt * 5.2 string_list all_strv --log-opt
Network * 4.4 string all --network
PodmanArgs * 4.6 arg_list all_args
PublishPort * 4.4 string all --publish
RemapGid *! 4.4 string_list all_strv
RemapUid *! 4.4 string_list all_strv
RemapUidSize ! 4.4 int last
RemapUsers ! 4.4 string last
ServiceName - 5.3 string last
SetWorkingDirectory - 4.7 string last
UserNS - 4.5 string last --userns
Yaml * 4.4 string_list all_strv
image = 4.8 Image
AllTags - 4.8 bool last_bool --all-tags
Arch - 4.8 string last --arch
AuthFile - 4.8 string last --authfile
CertDir - 4.8 string last --cert-dir
ContainersConfModule * 4.8 string all --module
Creds - 4.8 string last --creds
DecryptionKey - 4.8 string last --decryption-key
GlobalArgs * 4.8 arg_list all_args
Image - 4.8 string last
ImageTag - 4.8 string last
OS - 4.8 string last --os
PodmanArgs * 4.8 arg_list all_args
Policy - 5.6 enum:always,missing,never,newer last --policy
Retry - 5.5 int last --retry
RetryDelay - 5.5 duration last --retry-delay
ServiceName - 5.3 string last
TLSVerify - 4.8 bool last_bool --tls-verify
Variant - 4.8 string last --variant
pod = 5.0 Pod
AddHost * 5.3 string all --add-host
ContainersConfModule * 5.0 string all --module
DNS * 5.3 ip all --dns
DNSOption * 5.3 string all --dns-option
DNSSearch * 5.3 string all --dns-search
ExitPolicy - 5.6 enum:continue,stop last --exit-policy
GIDMap * 5.3 string_list all_strv --gidmap
GlobalArgs * 5.0 arg_list all_args
HostName * 5.5 string all --hostname
IP - 5.3 ip last --ip
IP6 - 5.3 ip6 last --ip6
Label * 5.6 keyval all_keyval --label
Network * 5.0 string all --network
NetworkAlias * 5.2 string all --network-alias
PodName - 5.0 string last --name
PodmanArgs * 5.0 arg_list all_args
PublishPort * 5.0 string all --publish
RemapGid *! 5.3 string_list all_strv
RemapUid *! 5.3 string_list all_strv
RemapUidSize ! 5.3 int last
RemapUsers ! 5.3 string last
ServiceName - 5.3 string last
ShmSize - 5.4 size last --shm-size
StopTimeout - 5.7 int last pod stop --time
SubGIDMap - 5.3 string last --subgidname
SubUIDMap - 5.3 string last --subuidname
UIDMap * 5.3 string_list all_strv --uidmap
UserNS - 5.3 string last --userns
Volume * 5.0 string all -v
build = 5.2 Build
Annotation * 5.2 keyval all_keyval --annotation
Arch - 5.2 string last --arch
AuthFile - 5.2 string last --authfile
BuildArg * 5.7 keyval all_keyval --build-arg
ContainersConfModule * 5.2 string all --module
DNS * 5.2 ip all --dns
DNSOption * 5.2 string all --dns-option
DNSSearch * 5.2 string all --dns-search
Environment * 5.2 keyval all_keyval --env
File - 5.2 string last --file
ForceRM - 5.2 bool last_bool --force-rm
GlobalArgs * 5.2 arg_list all_args
GroupAdd * 5.2 string all --group-add
IgnoreFile - 5.7 string last --ignorefile
ImageTag * 5.2 string all --tag
Label * 5.2 keyval all_keyval --label
Network * 5.2 string all --network
PodmanArgs * 5.2 arg_list all_args
Pull - 5.2 enum:always,missing,never,newer last --pull
Retry - 5.5 int last --retry
RetryDelay - 5.5 duration last --retry-delay
Secret * 5.2 arg_list all_args --secret
ServiceName - 5.3 string last
SetWorkingDirectory - 5.2 string last
TLSVerify - 5.2 bool last_bool --tls-verify
Target - 5.2 string last --target
Variant - 5.2 string last --variant
Volume * 5.2 string all -v
artifact = 5.7 Artifact
Artifact - 5.7 string last
AuthFile - 5.7 string last --authfile
CertDir - 5.7 string last --cert-dir
ContainersConfModule * 5.7 string all --module
Creds - 5.7 string last --creds
DecryptionKey - 5.7 string last --decryption-key
GlobalArgs * 5.7 arg_list all_args
PodmanArgs * 5.7 arg_list all_args
Quiet - 5.7 bool last_bool --quiet
Retry - 5.7 int last --retry
RetryDelay - 5.7 duration last --retry-delay
ServiceName - 5.7 string last
TLSVerify - 5.7 bool last_bool --tls-verify
quadlet = 5.3 Quadlet
DefaultDependencies - 5.3 bool last_bool
"""
)
