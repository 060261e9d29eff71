"""The playground's settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.playground.settings import Settings, words


def test_addresses_have_names():
    """A gateway without a name has its address as its name; the order stays."""
    settings = Settings(gateways="new=127.0.0.1:1, 127.0.0.1:2", metrics="gateway=127.0.0.1:3")
    assert list(settings.gateway_targets().items()) == [("new", "127.0.0.1:1"), ("127.0.0.1:2", "127.0.0.1:2")]
    assert settings.metrics_pages() == {"gateway": "127.0.0.1:3"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"gateways": "a=127.0.0.1:1,a=127.0.0.1:2"}, "the name a occurs twice"),
        ({"gateways": "a="}, "is not NAME=host:port"),
        ({"metrics": "=127.0.0.1:1"}, "is not NAME=host:port"),
        ({"host": "0.0.0.0"}, "without TLS"),  # noqa: S104 - it is refused
        ({"gateways": "gateway.example.com:50051"}, "without TLS"),
        ({"tls_key": "key.pem"}, "give both or neither"),
        ({"gateway_key": "key.pem"}, "give both or neither"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_remedy(given: dict[str, str], named: str):
    """Lists that cannot be read and connections that anybody can read are refused."""
    with pytest.raises(ValidationError, match=named):
        Settings(**given)


def test_other_machines_are_allowed_on_demand():
    """`insecure` allows connections without TLS."""
    settings = Settings(host="0.0.0.0", gateways="gateway:50051", insecure=True)  # noqa: S104 - as in a container
    assert settings.gateway_targets() == {"gateway:50051": "gateway:50051"}


def test_lists_have_commas():
    """Blanks and empty parts do not count."""
    assert words(" a, ,b,") == ["a", "b"]
