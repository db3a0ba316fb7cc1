"""Reads a dashboard from standard input with Grafana's own library, writes it again, and prints what is not the same."""
import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# What Grafana knows and the library leaves out.
LEFT_OUT = {"id", "builtIn", "step", "textFormat", "titleFormat"}


def differences(here, there, path=""):
    if isinstance(here, dict) and isinstance(there, dict):
        for name, value in here.items():
            if name in there:
                yield from differences(value, there[name], f"{path}/{name}")
            elif name not in LEFT_OUT:
                yield f"{path}/{name} is unknown"
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (one, other) in enumerate(zip(here, there)):
            yield from differences(one, other, f"{path}[{place}]")
    elif here != there:
        yield f"{path}: {here!r} became {there!r}"


plugins.register_default_plugins()
dashboard = json.load(sys.stdin)
again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
found = list(differences(dashboard, again))
print("\n".join(found) or "the same")
sys.exit(bool(found))
