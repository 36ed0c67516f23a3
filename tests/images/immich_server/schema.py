# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database schema as migrations: a part of the original's tables, with its table and column names."""

from __future__ import annotations

import typing as t

from immich_server import names

# One number for all servers on a database: only one migrates at a time.
MIGRATION_LOCK = 200


# All tables come with the first migration; of the others only the names are kept, which decide who may start on whose database.
# {column} and {index} depend on the vector extension.
TABLES_SQL = """
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE EXTENSION IF NOT EXISTS cube;
CREATE EXTENSION IF NOT EXISTS earthdistance;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE "user" (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    email varchar NOT NULL UNIQUE,
    password varchar NOT NULL DEFAULT '',
    name varchar NOT NULL DEFAULT '',
    "isAdmin" boolean NOT NULL DEFAULT false,
    "shouldChangePassword" boolean NOT NULL DEFAULT true,
    "storageLabel" varchar UNIQUE,
    "oauthId" varchar NOT NULL DEFAULT '',
    "profileImagePath" varchar NOT NULL DEFAULT '',
    "avatarColor" varchar,
    status varchar NOT NULL DEFAULT 'active',
    "quotaSizeInBytes" bigint,
    "quotaUsageInBytes" bigint NOT NULL DEFAULT 0,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now(),
    "deletedAt" timestamptz
);
CREATE TABLE session (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    token bytea NOT NULL UNIQUE,
    "userId" uuid NOT NULL REFERENCES "user" ON DELETE CASCADE,
    "deviceType" varchar NOT NULL DEFAULT '',
    "deviceOS" varchar NOT NULL DEFAULT '',
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE api_key (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    name varchar NOT NULL,
    key bytea NOT NULL UNIQUE,
    permissions varchar[] NOT NULL,
    "userId" uuid NOT NULL REFERENCES "user" ON DELETE CASCADE,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE library (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    name varchar NOT NULL,
    "ownerId" uuid NOT NULL REFERENCES "user" ON DELETE CASCADE,
    "importPaths" text[] NOT NULL,
    "exclusionPatterns" text[] NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now(),
    "refreshedAt" timestamptz
);
CREATE TABLE asset (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    "deviceAssetId" varchar NOT NULL,
    "deviceId" varchar NOT NULL,
    "ownerId" uuid NOT NULL REFERENCES "user" ON DELETE CASCADE,
    "libraryId" uuid REFERENCES library ON DELETE CASCADE,
    type varchar NOT NULL,
    "originalPath" varchar NOT NULL,
    "originalFileName" varchar NOT NULL,
    checksum bytea NOT NULL,
    "isFavorite" boolean NOT NULL DEFAULT false,
    "isExternal" boolean NOT NULL DEFAULT false,
    "isOffline" boolean NOT NULL DEFAULT false,
    visibility varchar NOT NULL DEFAULT 'timeline',
    status varchar NOT NULL DEFAULT 'active',
    duration varchar,
    thumbhash bytea,
    "fileCreatedAt" timestamptz NOT NULL,
    "fileModifiedAt" timestamptz NOT NULL,
    "localDateTime" timestamptz NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    "updatedAt" timestamptz NOT NULL DEFAULT now(),
    "deletedAt" timestamptz
);
CREATE UNIQUE INDEX "UQ_assets_owner_checksum" ON asset ("ownerId", checksum) WHERE "libraryId" IS NULL;
CREATE TABLE asset_exif (
    "assetId" uuid PRIMARY KEY REFERENCES asset ON DELETE CASCADE,
    "fileSizeInByte" bigint,
    "exifImageWidth" integer,
    "exifImageHeight" integer,
    make varchar,
    model varchar,
    "dateTimeOriginal" timestamptz,
    "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE asset_file (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    "assetId" uuid NOT NULL REFERENCES asset ON DELETE CASCADE,
    type varchar NOT NULL,
    path varchar NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now(),
    UNIQUE ("assetId", type)
);
CREATE TABLE smart_search ("assetId" uuid PRIMARY KEY REFERENCES asset ON DELETE CASCADE, embedding {column}(512) NOT NULL);
CREATE INDEX clip_index ON smart_search USING {index};
CREATE TABLE face_search ("faceId" uuid PRIMARY KEY, embedding {column}(512) NOT NULL);
CREATE INDEX face_index ON face_search USING {index};
CREATE TABLE version_history (
    id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
    version varchar NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
"""


# Made outside the migrations: both are needed to run them.
FOUNDATION = """
CREATE TABLE IF NOT EXISTS kysely_migrations (name varchar(255) PRIMARY KEY, timestamp varchar(255) NOT NULL);
CREATE TABLE IF NOT EXISTS system_metadata (key varchar PRIMARY KEY, value jsonb NOT NULL);
"""

TABLES = (
    "user",
    "session",
    "api_key",
    "library",
    "asset",
    "asset_exif",
    "asset_file",
    "smart_search",
    "face_search",
    "version_history",
    "system_metadata",
    "kysely_migrations",
)


class SchemaError(Exception):
    """The database was migrated by another version in a way this one cannot take."""


def pending(done: t.Iterable[str], known: t.Sequence[str]) -> list[str]:
    """Migrations still to run. A migration this version does not know means a newer server was here: no way back."""
    done = list(done)
    foreign = sorted(set(done) - set(known))
    if foreign:
        raise SchemaError(f"corrupted migrations: previously executed migration {foreign[0]} is missing")
    return [name for name in known if name not in done]


def sql_of(name: str) -> str:
    """What a migration does."""
    return TABLES_SQL if name == names.MIGRATIONS[0] else ""
