# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine learning stand-in, asked over HTTP on the loopback."""

from __future__ import annotations

import http.client
import json
import math
import pathlib
import threading
import typing as t

import pytest
from immich_ml import __main__ as program
from immich_ml import predict

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b080320 04b0 01 01 11 00 ffd9".replace(" ", ""))
BOUNDARY = "xyz"


def form(**fields: bytes) -> bytes:
    parts = [b'--xyz\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n' % (name.encode(), data) for name, data in fields.items()]
    return b"".join(parts) + b"--xyz--\r\n"


@pytest.fixture
def ask(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[..., tuple[int, bytes]]]:
    logged: list[str] = []
    monkeypatch.setattr(program.Handler, "models", predict.Models(str(tmp_path / "cache"), 300, lambda level, text: logged.append(text)), raising=False)
    server = program.Server("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def call(method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        connection.request(method, path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = connection.getresponse()
        result = answer.status, answer.read()
        connection.close()
        return result

    yield call
    server.shutdown()
    server.server_close()
    thread.join()


def entries(task: str = "clip", kind: str = "visual", name: str = "ViT-B-32__openai") -> bytes:
    return json.dumps({task: {kind: {"modelName": name}}}).encode()


def test_ping_and_root(ask: t.Callable[..., tuple[int, bytes]]) -> None:
    assert ask("GET", "/ping") == (200, b"pong")
    assert ask("GET", "/")[0] == 200
    assert ask("GET", "/nope")[0] == 404


def test_an_embedding_is_a_unit_vector_in_a_string_and_depends_on_the_picture(ask: t.Callable[..., tuple[int, bytes]]) -> None:
    status, body = ask("POST", "/predict", form(entries=entries(), image=JPEG))
    document = json.loads(body)
    vector = json.loads(document["clip"])
    assert status == 200
    assert len(vector) == 512
    assert math.isclose(sum(value * value for value in vector), 1, abs_tol=1e-4)
    assert (document["imageHeight"], document["imageWidth"]) == (800, 1200)
    assert json.loads(ask("POST", "/predict", form(entries=entries(), image=JPEG))[1]) == document
    assert json.loads(ask("POST", "/predict", form(entries=entries(), image=JPEG + b"x"))[1])["clip"] != document["clip"]


def test_the_first_request_fills_the_cache_folder(ask: t.Callable[..., tuple[int, bytes]], tmp_path: pathlib.Path) -> None:
    assert not (tmp_path / "cache").exists()
    ask("POST", "/predict", form(entries=entries("facial-recognition", "detection", "buffalo_l"), image=JPEG))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.onnx")] == ["cache/facial-recognition/buffalo_l/detection/model.onnx"]


@pytest.mark.parametrize(
    "body",
    [form(image=JPEG), form(entries=b"{", image=JPEG), form(entries=b'{"clip": {"visual": {}}}', image=JPEG), form(entries=entries()), b""],
)
def test_bad_requests_are_refused(ask: t.Callable[..., tuple[int, bytes]], body: bytes) -> None:
    assert ask("POST", "/predict", body)[0] == 422


def test_a_model_name_cannot_leave_the_cache(ask: t.Callable[..., tuple[int, bytes]], tmp_path: pathlib.Path) -> None:
    assert ask("POST", "/predict", form(entries=entries(name="../../x"), image=JPEG))[0] == 422
    assert list(tmp_path.rglob("*.onnx")) == []


def test_an_unused_model_is_loaded_again(tmp_path: pathlib.Path) -> None:
    logged: list[str] = []
    models = predict.Models(str(tmp_path), 1e-9, lambda level, text: logged.append(text))
    models.load("clip", "visual", "m")
    models.load("clip", "visual", "m")
    assert [line.partition(" ")[0] for line in logged] == ["Writing", "Loading", "Loading"]
