"""Prepares a Bugsink in the current directory: a database, a project, an API token. Prints the DSN and the token.

The empty databases are made once and kept beside the installed version: making them takes ten seconds of CPU.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile

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
databases = ("db.sqlite3", "snappea.sqlite3")
prepared = os.path.join(os.path.dirname(binaries), f"prepared-{importlib.metadata.version('bugsink')}")
if os.path.isdir(prepared):
    for database in databases:
        shutil.copy(os.path.join(prepared, database), database)
else:
    run("bugsink-manage", "migrate")
    run("bugsink-manage", "migrate", "snappea", "--database=snappea")
    copies = tempfile.mkdtemp(dir=os.path.dirname(binaries))
    for database in databases:
        shutil.copy(database, copies)
    try:
        os.rename(copies, prepared)
    except OSError:
        # Another test was faster.
        shutil.rmtree(copies)
create = "from projects.models import Project; print(Project.objects.create(name='shop').dsn)"
print(run("bugsink-manage", "shell", "-c", create)[-1])
print(run("bugsink-manage", "create_auth_token")[-1])
