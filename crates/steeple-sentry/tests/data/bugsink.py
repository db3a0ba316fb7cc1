"""Prepares a Bugsink in the current directory: a database, a project, an API token. Prints the DSN and the token."""

import os
import subprocess
import sys

binaries, port, sub = sys.argv[1], sys.argv[2], subprocess.run


def run(program, *arguments):
    done = sub([os.path.join(binaries, program), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {arguments}: {done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()


run("bugsink-create-conf", "--template=local", "--host=127.0.0.1", f"--port={port}")
with open("bugsink_conf.py") as conf:
    text = conf.read()
assert "BUGSINK = {" in text, text
# It tells its makers that it runs; a test does not. Every event is checked against Sentry's own JSON schema.
text = text.replace("BUGSINK = {", 'BUGSINK = {\n    "PHONEHOME": False,\n    "VALIDATE_ON_DIGEST": "strict",', 1)
with open("bugsink_conf.py", "w") as conf:
    conf.write(text)
run("bugsink-manage", "migrate")
run("bugsink-manage", "migrate", "snappea", "--database=snappea")
create = "from projects.models import Project; print(Project.objects.create(name='shop').dsn)"
print(run("bugsink-manage", "shell", "-c", create)[-1])
print(run("bugsink-manage", "create_auth_token")[-1])
