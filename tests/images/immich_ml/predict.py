# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers of C(POST /predict), with small numbers made from the input instead of a model's."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import json
import math
import os
import struct
import threading
import time
import typing as t

CLIP_SIZE = 512
Log = t.Callable[[str, str], None]


class BadRequest(Exception):
    """The request is not one the original would take."""


def parse_form(kind: str, body: bytes) -> dict[str, bytes]:
    """Fields of a multipart form."""
    if not kind.lower().startswith("multipart/form-data"):
        raise BadRequest("a multipart form is needed")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    fields: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            fields[name] = t.cast(bytes, part.get_payload(decode=True)) or b""
    return fields


def embedding(data: bytes, size: int = CLIP_SIZE) -> list[float]:
    """A unit vector that depends on nothing but the input."""
    raw = b"".join(hashlib.sha256(data + struct.pack(">I", count)).digest() for count in range(size // 16 + 1))
    numbers = [value / 32768.0 - 1.0 for value in struct.unpack(f">{size}H", raw[: 2 * size])]
    length = math.sqrt(sum(value * value for value in numbers)) or 1.0
    return [round(value / length, 7) for value in numbers]


class Models:
    """Which models are on disk (a file in the cache folder) and in memory (until unused for ttl seconds)."""

    def __init__(self, cache: str, ttl: float, log: Log) -> None:
        self.cache = cache
        self.ttl = ttl
        self.log = log
        self.lock = threading.Lock()
        self.used: dict[tuple[str, str, str], float] = {}

    def load(self, task: str, kind: str, name: str) -> None:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise BadRequest(f"Unknown model {name}")
        with self.lock:
            now = time.monotonic()
            if self.ttl > 0:
                self.used = {key: last for key, last in self.used.items() if now - last < self.ttl}
            if (task, kind, name) not in self.used:
                path = os.path.join(self.cache, task, name, kind, "model.onnx")
                if not os.path.exists(path):
                    self.log("INFO", f"Writing stand-in {kind} model '{name}' to {path}.")
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path + ".tmp", "wb") as handle:
                        handle.write(b"stand-in for a model, made by the test image of patriark.homelab\n")
                    os.rename(path + ".tmp", path)
                self.log("INFO", f"Loading {kind} model '{name}' to memory")
            self.used[(task, kind, name)] = now


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG, or of nothing known: 0, 0."""
    position = 2
    while data[:2] == b"\xff\xd8" and position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack(">H", data[position + 2 : position + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return height, width
        position += 2 + length
    return 0, 0


def predict(fields: dict[str, bytes], models: Models) -> dict[str, t.Any]:
    """Answer for the tasks named in the field C(entries)."""
    try:
        entries = json.loads(fields["entries"])
        wanted = [(task, kind, str(options["modelName"])) for task, kinds in entries.items() for kind, options in kinds.items()]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadRequest("Invalid request format.") from error
    payload = fields.get("image", fields.get("text"))
    if payload is None:
        raise BadRequest("Either image or text must be provided.")
    answer: dict[str, t.Any] = {}
    for task, kind, name in wanted:
        models.load(task, kind, name)
        if task == "clip":
            answer[task] = json.dumps(embedding(payload))
        elif task == "ocr":
            answer[task] = {"text": [], "box": [], "boxScore": [], "textScore": []}
        else:
            answer[task] = []
    if "image" in fields:
        answer["imageHeight"], answer["imageWidth"] = image_size(payload)
    return answer
