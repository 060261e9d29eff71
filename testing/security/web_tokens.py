"""An issuer of JSON web tokens."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://login.example"
AUDIENCE = "shortlist"


class Issuer:
    """Signs tokens with its keys: `RS256`, `ES256` and `EdDSA`, named after the algorithm and a suffix."""

    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix
        self._keys: dict[str, Any] = {
            "RS256": rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def key_set(self) -> str:
        """Return the public keys as a JWK set."""
        algorithms: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
        keys = [
            {**algorithms[name].to_jwk(key.public_key(), as_dict=True), "kid": name + self.suffix, "use": "sig"}
            for name, key in self._keys.items()
        ]
        return json.dumps({"keys": [{**key, "alg": key["kid"].removesuffix(self.suffix)} for key in keys]})

    def token(self, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token of five minutes; claims may be replaced, and left out by None."""
        given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "program", "exp": time.time() + 300, **claims}
        kept = {name: value for name, value in given.items() if value is not None}
        kid = {"kid": algorithm + self.suffix}
        return jwt.encode(kept, self._keys[algorithm], algorithm, headers={**kid, **(headers or {})})
