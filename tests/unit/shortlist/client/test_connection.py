"""TLS and metadata of the connection."""

from __future__ import annotations

import pytest
from shortlist.client import Tls
from shortlist.client.connection import channel_options, metadata_of


def test_a_certificate_needs_its_key():
    with pytest.raises(ValueError, match="both certificate_file and key_file"):
        Tls(certificate_file="client.pem")


def test_a_call_has_an_id_and_a_token():
    """An id that is given is kept; one that is not is made."""
    assert metadata_of(None, "r1") == (("x-request-id", "r1"),)
    made, token = metadata_of(lambda: "t", "")
    assert len(made[1]) == 32
    assert token == ("authorization", "Bearer t")


def test_options_of_the_caller_win():
    options = dict(channel_options(Tls(server_name="shop"), [("grpc.keepalive_time_ms", 1)]))
    assert options["grpc.keepalive_time_ms"] == 1
    assert options["grpc.ssl_target_name_override"] == "shop"
