# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that runs as root touches a path in the reach of the account by its name, where links are followed and fifos waited for.

Two rules: the builtin modules for files are given places of the host only, and in the code each call that takes a path stands in a
block of Session.files, takes a descriptor, names a place of the host, or is listed here with the reason why it is none of these.
"""

from __future__ import annotations

import ast
import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]

# Tasks

FILE_MODULES = {
    *("acl", "assemble", "blockinfile", "copy", "fetch", "file", "find", "get_url", "iso_extract", "lineinfile", "patch", "replace", "slurp", "stat"),
    *("synchronize", "tempfile", "template", "unarchive", "xattr", "archive", "ini_file", "htpasswd", "xml", "git", "uri"),
}
COMMANDS = {"command", "expect", "raw", "script", "shell"}
PATHS = ("path", "dest", "src", "paths", "name", "creates")
HOST = re.compile(r"/(etc|proc|sys|usr|boot|dev)/(?!.*\.\.)")


def tasks(node: t.Any) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Module and arguments of each task, those in blocks too."""
    if isinstance(node, list):
        for item in node:
            yield from tasks(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers", "roles"):
                yield from tasks(value)
            else:
                yield key, value if isinstance(value, dict) else {"free": value}


def offences(text: str) -> list[str]:
    found = []
    for module, arguments in tasks(yaml.safe_load(text)):
        name = module.rpartition(".")[2]
        if ("." not in module and module not in FILE_MODULES | COMMANDS) or module.startswith("patriark."):
            continue
        if name in COMMANDS:
            found.append(f"{module}: a module of ours can tell the truth")
        elif name in FILE_MODULES:
            given = [arguments[key] for key in PATHS if key in arguments] or [arguments.get("free", "")]
            found += [f"{module}: {path}" for path in given if not HOST.match(str(path))]
    return found


FILES = sorted([*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("roles/*/handlers/**/*.yml"), *ROOT.glob("playbooks/*.yml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_builtin_modules_stay_out_of_the_account(path: pathlib.Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("- ansible.builtin.file: {path: /etc/systemd/system, state: directory}", 0),
        ("- ansible.builtin.slurp: {src: /proc/sys/net/ipv4/ip_unprivileged_port_start}", 0),
        ("- ansible.builtin.lineinfile: {path: '/etc/{{ item }}', line: x}", 0),
        ("- ansible.builtin.file: {path: '{{ item }}', state: directory}", 1),
        ("- ansible.builtin.copy: {dest: /etc/../home/homelab/x, content: x}", 1),
        ("- ansible.builtin.template: {dest: '~homelab/x', src: x.j2}", 2),
        ("- block: [{name: in a block, ansible.builtin.stat: {path: /srv/x}}]", 1),
        ("- copy: {dest: /home/homelab/x, content: x}", 1),
        ("- ansible.builtin.command: cat /etc/passwd", 1),
        ("- community.general.ini_file: {path: /mnt/pool/x}", 1),
        ("- name: ours\n  patriark.homelab.traefik_file: {path: /home/homelab/x.yml}", 0),
    ],
)
def test_the_rule_for_tasks(text: str, bad: int) -> None:
    assert len(offences(text)) == bad


# Code

OS = {
    *("open", "stat", "lstat", "access", "chmod", "chown", "lchown", "mkdir", "makedirs", "remove", "unlink", "rename", "replace", "rmdir", "removedirs"),
    *("listdir", "scandir", "walk", "link", "symlink", "readlink", "truncate", "utime", "statvfs", "mknod", "mkfifo", "setxattr", "getxattr"),
}
OS_PATH = {"exists", "lexists", "isfile", "isdir", "islink", "ismount", "realpath", "getsize", "getmtime"}
DESCRIPTORS = {"dir_fd", "src_dir_fd", "dst_dir_fd"}
HOST_CODE = re.compile(r"/(etc|proc|sys|usr|dev|var/lib/systemd|run)(/|$)")

# Why a function may name paths outside of a block of Session.files, and which ones do.
ALLOWED: dict[str, dict[str, str]] = {
    "its callers are in such a block": {
        "_generator.py": "loaded _followed _place",
        "_live_files.py": "put _look _copy write clear _write _sync",
        "_stack_files.py": "read_node changed write_node tidy remove_file replace_tree _carry _files _restore_moved _listing _exchange _sync",
        "_traefik.py": "_mark _texts",
    },
    "it is given a descriptor, or the way to one below /proc/self/fd": {
        "_btrfs_audit.py": "directory",
        "_btrfs_convert.py": "read_marker _write_marker _leftover _fill directory _restore_times",
        "_btrfs_copy.py": "directory copy_metadata _copy_attributes _attributes",
        "_btrfs_directory.py": "_look_inside _access",
        "_btrfs_owner.py": "context set_context",
        "_installation_look.py": "place _outside",
        "_installation_record.py": "read_mark write_mark",
    },
    "it looks at names only, and what is opened afterwards is opened without following": {
        "_btrfs_convert.py": "preflight",
        "_btrfs_directory.py": "_anchor look",
        "_reach.py": "_stat resolve open_path obstacle",
        "_session.py": "ready",
        "immich_host.py": "main",
    },
    "the place is one of the host, of the program's own or of the controller's temporary directory": {
        "_account.py": "read",
        "_btrfs_busy.py": "_key _files_of",
        "_btrfs_owner.py": "_read",
        "_btrfs_progress.py": "_write _listened_to close",
        "_host_routes.py": "_text",
        "_installation_record.py": "load save _alone _raw",
        "_planner.py": "_mark _refuse_shadows",
        "_podman.py": "generator",
        "_report.py": "time_zone",
        "_wait_progress.py": "__enter__ __exit__",
    },
}


def _called(node: ast.Call) -> str | None:
    function = node.func
    if isinstance(function, ast.Name):
        return "open" if function.id == "open" else None
    if not isinstance(function, ast.Attribute):
        return None
    owner = ast.unparse(function.value)
    if (owner == "os" and function.attr in OS) or (owner == "os.path" and function.attr in OS_PATH) or owner == "shutil":
        return f"{owner}.{function.attr}"
    return None


def _harmless(node: ast.Call) -> bool:
    if any(keyword.arg in DESCRIPTORS for keyword in node.keywords):
        return True
    first = node.args[0] if node.args else None
    if isinstance(first, ast.JoinedStr):
        first = first.values[0]
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and HOST_CODE.match(first.value) is not None


class Reader(ast.NodeVisitor):
    """Calls outside of blocks "with ...files()", by the function that they stand in."""

    def __init__(self) -> None:
        self.within: list[str] = []
        self.ids = 0
        self.found: list[tuple[str, str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.within.append(node.name)
        self.generic_visit(node)
        self.within.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        theirs = any(isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr.func).endswith(".files") for item in node.items)
        self.ids += theirs
        self.generic_visit(node)
        self.ids -= theirs

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name and not self.ids and not _harmless(node):
            self.found.append((".".join(self.within[:1]) or "the module", f"{name} in line {node.lineno}"))
        self.generic_visit(node)


def calls(text: str) -> list[tuple[str, str]]:
    reader = Reader()
    reader.visit(ast.parse(text))
    return reader.found


def test_the_code_goes_by_descriptors_or_with_the_ids_of_the_account() -> None:
    listed = {(name, function) for names in ALLOWED.values() for name, functions in names.items() for function in functions.split()}
    sources = [*ROOT.glob("plugins/module_utils/*.py"), *ROOT.glob("plugins/modules/*.py")]
    found = {(path.name, function): where for path in sources for function, where in calls(path.read_text(encoding="utf-8"))}
    assert {key: where for key, where in found.items() if key not in listed} == {}
    assert listed - set(found) == set(), "listed and not there any more"


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("def f(path):\n    return open(path)", 1),
        ("def f(session, path):\n    with session.files():\n        return open(path)", 0),
        ("def f(self, path):\n    with self.session.files(), open(path) as handle:\n        return handle", 0),
        ("def f(session, path):\n    with session.files():\n        pass\n    os.chown(path, 1, 1)", 1),
        ("def f(fd):\n    os.mkdir('x', dir_fd=fd)", 0),
        ("def f():\n    return open('/proc/mounts').read() + open(f'/sys/{1}').read()", 0),
        ("def f(name):\n    return os.path.exists(f'{name}/x') or shutil.rmtree(name)", 2),
        ("os.makedirs(HOME)", 1),
    ],
)
def test_the_rule_for_code(text: str, bad: int) -> None:
    assert len(calls(text)) == bad
