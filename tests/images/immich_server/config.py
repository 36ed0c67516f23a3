# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System settings: defaults, a partial override from the database or from IMMICH_CONFIG_FILE, and checks.

All keys are there, as the original's API shows them; only those that mean something without pictures' content and mail are acted on.
"""

from __future__ import annotations

import copy
import typing as t

from immich_server import MAJOR

Config = dict[str, t.Any]

DEFAULTS: Config = {
    "backup": {"database": {"enabled": True, "cronExpression": "0 02 * * *", "keepLastAmount": 14}},
    "ffmpeg": {
        "accel": "disabled",
        "accelDecode": False,
        "acceptedAudioCodecs": ["aac", "mp3", "libopus"],
        "acceptedContainers": ["mov", "ogg", "webm"],
        "acceptedVideoCodecs": ["h264"],
        "bframes": -1,
        "cqMode": "auto",
        "crf": 23,
        "gopSize": 0,
        "maxBitrate": "0",
        "preferredHwDevice": "auto",
        "preset": "ultrafast",
        "refs": 0,
        "targetAudioCodec": "aac",
        "targetResolution": "720",
        "targetVideoCodec": "h264",
        "temporalAQ": False,
        "threads": 0,
        "tonemap": "hable",
        "transcode": "required",
        "twoPass": False,
    },
    "image": {
        "colorspace": "p3",
        "extractEmbedded": False,
        "fullsize": {"enabled": False, "format": "jpeg", "quality": 80, "progressive": False},
        "preview": {"format": "jpeg", "quality": 80, "size": 1440, "progressive": False},
        "thumbnail": {"format": "webp", "quality": 80, "size": 250, "progressive": False},
    },
    "job": {
        name: {"concurrency": count}
        for name, count in (
            ("backgroundTask", 5),
            ("faceDetection", 2),
            ("library", 5),
            ("metadataExtraction", 5),
            ("migration", 5),
            ("notifications", 5),
            ("ocr", 1),
            ("workflow", 5),
            ("editor", 2),
            ("search", 5),
            ("sidecar", 5),
            ("smartSearch", 2),
            ("thumbnailGeneration", 3),
            ("videoConversion", 1),
        )
    },
    "library": {"scan": {"cronExpression": "0 0 * * *", "enabled": True}, "watch": {"enabled": False}},
    "logging": {"enabled": True, "level": "log"},
    "machineLearning": {
        "availabilityChecks": {"enabled": True, "interval": 30000, "timeout": 2000},
        "clip": {"enabled": True, "modelName": "ViT-B-32__openai"},
        "duplicateDetection": {"enabled": True, "maxDistance": 0.01},
        "enabled": True,
        "facialRecognition": {"enabled": True, "maxDistance": 0.5, "minFaces": 3, "minScore": 0.7, "modelName": "buffalo_l"},
        "ocr": {"enabled": True, "maxResolution": 736, "minDetectionScore": 0.5, "minRecognitionScore": 0.8, "modelName": "PP-OCRv5_mobile"},
        "urls": ["http://immich-machine-learning:3003"],
    },
    "map": {
        "darkStyle": "https://tiles.immich.cloud/v1/style/dark.json",
        "enabled": True,
        "lightStyle": "https://tiles.immich.cloud/v1/style/light.json",
    },
    "metadata": {"faces": {"import": False}},
    "newVersionCheck": {"enabled": True},
    "nightlyTasks": {
        "clusterNewFaces": True,
        "databaseCleanup": True,
        "generateMemories": True,
        "missingThumbnails": True,
        "startTime": "00:00",
        "syncQuotaUsage": True,
    },
    "notifications": {
        "smtp": {
            "enabled": False,
            "from": "",
            "replyTo": "",
            "transport": {"host": "", "ignoreCert": False, "password": "", "port": 587, "secure": False, "username": ""},
        }
    },
    "oauth": {
        "autoLaunch": False,
        "autoRegister": True,
        "buttonText": "Login with OAuth",
        "clientId": "",
        "clientSecret": "",
        "defaultStorageQuota": None,
        "enabled": False,
        "issuerUrl": "",
        "mobileOverrideEnabled": False,
        "mobileRedirectUri": "",
        "profileSigningAlgorithm": "none",
        "roleClaim": "immich_role",
        "scope": "openid email profile",
        "signingAlgorithm": "RS256",
        "storageLabelClaim": "preferred_username",
        "storageQuotaClaim": "immich_quota",
        "timeout": 30000,
        "tokenEndpointAuthMethod": "client_secret_post",
    },
    "passwordLogin": {"enabled": True},
    "reverseGeocoding": {"enabled": True},
    "server": {"externalDomain": "", "loginPageMessage": "", "publicUsers": True},
    "storageTemplate": {"enabled": False, "hashVerificationEnabled": True, "template": "{{y}}/{{y}}-{{MM}}-{{dd}}/{{filename}}"},
    "templates": {"email": {"albumInviteTemplate": "", "albumUpdateTemplate": "", "welcomeTemplate": ""}},
    "theme": {"customCss": ""},
    "trash": {"days": 30, "enabled": True},
    "user": {"deleteDelay": 7},
}

# What 3.x has beside or instead of it.
if MAJOR >= 3:
    DEFAULTS["ffmpeg"].update(
        acceptedAudioCodecs=["aac", "mp3", "opus"],
        accelDecode=True,
        realtime={"enabled": False, "videoCodecs": ["h264", "hevc"], "resolutions": [480, 720, 1080]},
    )
    DEFAULTS["integrityChecks"] = {name: {"enabled": True, "cronExpression": "0 03 * * *"} for name in ("missingFiles", "untrackedFiles", "checksumFiles")}
    DEFAULTS["integrityChecks"]["checksumFiles"].update(timeLimit=3600000, percentageLimit=1)
    DEFAULTS["job"]["integrityCheck"] = {"concurrency": 1}
    DEFAULTS["oauth"].update(endSessionEndpoint="", prompt="", allowInsecureRequests=False)
    DEFAULTS["newVersionCheck"]["channel"] = "stable"


class InvalidConfig(Exception):
    """A setting has a value of the wrong kind, or is missing where all are needed."""


def defaults(machine_learning_url: str = "", machine_learning: bool = True) -> Config:
    made = copy.deepcopy(DEFAULTS)
    if machine_learning_url:
        made["machineLearning"]["urls"] = [machine_learning_url]
    made["machineLearning"]["enabled"] = machine_learning
    return made


def same_kind(default: t.Any, value: t.Any) -> bool:
    if default is None or value is None:
        return default is None
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))


def merge(base: Config, override: t.Any, where: str = "") -> tuple[Config, list[str]]:
    """Settings with the override's values, and the names of keys nobody knows. Raises C(InvalidConfig) for a value of the wrong kind."""
    if not isinstance(override, dict):
        raise InvalidConfig(f"{where or 'the configuration'} must be an object")
    result, unknown = copy.deepcopy(base), []
    for key, value in override.items():
        name = f"{where}.{key}" if where else str(key)
        if key not in base:
            unknown.append(name)
        elif isinstance(base[key], dict):
            result[key], more = merge(base[key], value, name)
            unknown += more
        elif same_kind(base[key], value):
            result[key] = copy.deepcopy(value)
        else:
            raise InvalidConfig(f"{name} must be a {type(base[key]).__name__} value")
    return result, unknown


def missing(whole: Config, given: Config, where: str = "") -> list[str]:
    """Names of settings that an update, which must name all of them, leaves out."""
    names = []
    for key, value in whole.items():
        name = f"{where}.{key}" if where else key
        if key not in given:
            names.append(name)
        elif isinstance(value, dict) and isinstance(given[key], dict):
            names += missing(value, given[key], name)
    return names


def difference(base: Config, value: Config) -> Config:
    """What has to be kept of a whole configuration: the settings that are not the default."""
    kept: Config = {}
    for key, default in base.items():
        if isinstance(default, dict):
            inner = difference(default, value[key])
            if inner:
                kept[key] = inner
        elif value[key] != default:
            kept[key] = value[key]
    return kept


def cron_matches(expression: str, minute: int, hour: int, day: int, month: int, weekday: int) -> bool:
    """Whether a five-field cron expression names this minute (weekday 0 = Sunday). Raises C(ValueError) for a bad expression."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(f"not a cron expression: {expression!r}")
    limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    values = [cron_field(field, *limit) for field, limit in zip(fields, limits)]
    values[4] |= {0} if 7 in values[4] else set()
    days = day in values[2], weekday in values[4]
    # Two restricted day fields: either is enough.
    day_fits = any(days) if fields[2] != "*" and fields[4] != "*" else all(days)
    return minute in values[0] and hour in values[1] and month in values[3] and day_fits


def cron_field(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        start = lowest if span == "*" else int(first)
        end = highest if span == "*" or (slash and not dash) else int(last or first)
        found.update(range(start, end + 1, int(step or 1)))
    if not found or min(found) < lowest or max(found) > highest:
        raise ValueError(f"not a cron field: {field!r}")
    return found
