"""The playground: a page in the browser that asks gateways, shows both stages, and compares releases and policies."""
