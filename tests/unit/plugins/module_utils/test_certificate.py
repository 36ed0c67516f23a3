# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says, beside what another library reads in it."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _certificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

UTC = datetime.timezone.utc
BEGINS, ENDS = datetime.datetime(2026, 11, 1, 2, 3, 4, tzinfo=UTC), datetime.datetime(2027, 1, 30, tzinfo=UTC)
NOW = datetime.datetime(2026, 12, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def der(names=("photos.example.org",), subject="photos.example.org", begins=BEGINS, ends=ENDS, kind=NameOID.COMMON_NAME, critical=False):
    alternatives = [x509.IPAddress(ipaddress.ip_address(name)) if ":" in name or name[0].isdigit() else x509.DNSName(name) for name in names]
    builder = x509.CertificateBuilder().public_key(KEY.public_key()).serial_number(x509.random_serial_number())
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NO"), x509.NameAttribute(kind, subject)] if subject else []))
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Grüße AS")])).not_valid_before(begins).not_valid_after(ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name("a@example.org"), *alternatives]), critical=critical)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("critical", [False, True])
def test_all_that_is_asked_of_it(critical):
    found = _certificate.read(der(["photos.example.org", "*.example.net", "192.0.2.1", "2001:db8::1"], critical=critical))
    assert found == ("photos.example.org", "Grüße AS", ["photos.example.org", "*.example.net", "192.0.2.1", "2001:db8::1"], BEGINS, ENDS)


def test_many_names_are_longer_than_a_length_in_one_byte():
    names = [f"host-{number}.example.org" for number in range(200)]
    assert _certificate.read(der(names)).names == names


def test_without_names_and_without_a_subject():
    assert _certificate.read(der([], "")) == ("", "Grüße AS", [], BEGINS, ENDS)


def test_years_that_need_four_digits():
    begins, ends = datetime.datetime(1970, 1, 1, tzinfo=UTC), datetime.datetime(2060, 1, 1, tzinfo=UTC)
    assert _certificate.read(der(begins=begins, ends=ends))[3:] == (begins, ends)


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x03abc", b"\x30\x82\xff\xff", der()[:200], b"<html>"])
def test_what_is_no_certificate(data):
    with pytest.raises(ValueError, match="not a certificate"):
        _certificate.read(data)


@pytest.mark.parametrize(
    ("names", "fits"),
    [
        (["photos.example.org"], True),
        (["PHOTOS.Example.org."], True),
        (["a.example.org", "*.example.org"], True),
        (["*.photos.example.org"], False),
        (["example.org"], False),
        (["*.org"], False),
        (["*"], False),
        ([], False),
    ],
)
def test_the_name_is_the_sites(names, fits):
    assert _certificate.fits("photos.example.org", names) is fits


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, []),
        ({"names": ["a.example.org"]}, ["h.example.org: the certificate by Grüße AS is for a.example.org"]),
        ({"names": []}, ["h.example.org: the certificate by Grüße AS is for no name"]),
        ({"ends": NOW - datetime.timedelta(minutes=1)}, ["h.example.org: the certificate by Grüße AS ended at 2026-11-30 23:59 UTC"]),
        ({"begins": NOW + datetime.timedelta(minutes=1)}, ["h.example.org: the certificate by Grüße AS begins at 2026-12-01 00:01 UTC"]),
        ({"subject": "TRAEFIK DEFAULT CERT", "names": ["x.traefik.default"]}, ["h.example.org: Traefik has no certificate for it and shows one of its own"]),
    ],
)
def test_why_no_visitor_would_take_it(given, said):
    found = _certificate.as_dict(_certificate.read(der(**{"names": ["h.example.org"], **given})), "h.example.org", NOW)
    assert found["faults"] == said
    assert found["default"] is (given.get("subject") == "TRAEFIK DEFAULT CERT")
