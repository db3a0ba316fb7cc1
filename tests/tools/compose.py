"""Reads a compose file as the compose specification has it, and checks what a parser does not.

Arguments: the file. Prints each published port and each mounted path of the host, for the test to look at.
"""

import sys

from compose_spec import PyCompose

# Unknown keys, invalid ports, volumes and durations are errors here.
compose = PyCompose.from_yaml(open(sys.argv[1], encoding="utf-8").read()).to_dict()
named = compose.get("volumes") or {}
for name, service in compose["services"].items():
    image, _, tag = service["image"].rpartition(":")
    assert image and tag and tag != "latest", f"{name}: an image without a version"
    for port in service.get("ports", []):
        print(f"port {name} {port}")
    for volume in service.get("volumes", []):
        source, target = volume.split(":")[:2]
        assert target.startswith("/"), f"{name}: {volume}"
        if source.startswith("."):
            print(f"path {name} {source} {target}")
        else:
            assert source in named, f"{name}: the volume {source} is not declared"
