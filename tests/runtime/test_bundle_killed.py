"""Whenever a process that writes a bundle is killed, there is the old bundle or the new one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WRITING = """
import json, os, shutil, signal, sys, weaksvr
from pathlib import Path
from weaksvr.runtime.bundle import Bundle, NewNetwork, NewTokenizer, write_bundle
from weaksvr.runtime.errors import BundleNotFoundError

old, new = (Bundle.open(path) for path in sys.argv[1:3])
out, existing = Path(sys.argv[3]), sys.argv[4] == "over"
fields = ("role", "precision", "opset", "inputs", "outputs")
networks = [
    NewNetwork(**{name: getattr(file, name) for name in fields}, data=new.read(file)) for file in new.manifest.files
]
vocabulary = new.manifest.tokenizer
tokenizer = NewTokenizer(context_length=vocabulary.context_length, data=new.read(vocabulary))

def write():
    write_bundle(out, new.manifest, networks, tokenizer=tokenizer)

def found():
    try:
        manifest = Bundle.open(out).manifest  # every hash is compared
    except BundleNotFoundError:
        return "none"
    (name,) = [bundle.manifest.name for bundle in (old, new) if bundle.manifest == manifest]
    return name

def start():
    shutil.rmtree(out, ignore_errors=True)
    if existing:
        shutil.copytree(old.path, out)
    return os.fork()

"""

EVERYWHERE = """class Torn:
    # A file whose content reaches the disk in two halves.
    def __init__(self, file, before):
        self.file, self.before = file, before
    def write(self, data):
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            self.file.write(half)
            self.file.flush()
            self.before("half")
    def __getattr__(self, name):
        return getattr(self.file, name)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        self.file.close()

def plant(last):
    # Kill this process before its file operation of that number.
    count = 0
    def before(what):
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)
    watched = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.listdir", "os.scandir"}
    sys.addaudithook(lambda event, arguments: before(event) if event in watched else None)
    fsync, fdopen = os.fsync, os.fdopen
    os.fsync = lambda handle: (before("fsync"), fsync(handle))
    os.fdopen = lambda *arguments: Torn(fdopen(*arguments), before)

seen = []
while True:
    child = start()
    if not child:
        plant(len(seen) + 1)
        write()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    seen.append(found())
    write()  # whatever was left is no obstacle, and is swept
    listed = {"manifest.json", *(entry.path for entry in Bundle.open(out).manifest.entries)}
    assert found() == "new" and {path.name for path in out.iterdir()} == listed, len(seen)
print(json.dumps(seen))
"""

ANYWHERE = """
import random, time
seen, draw = [], random.Random(0)
for _ in range(30):
    child = start()
    if not child:
        while True:  # the new one over the old one, and then over itself
            write()
    time.sleep(draw.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.append(found())
print(json.dumps(seen))
"""


def kill(script, toys, folder, mode):
    """What was there after each kill: the `old` bundle, the `new` one, or `none`."""
    toys.write(folder / "old", seed=1, name="old")
    toys.write(folder / "new", seed=2, name="new")
    done = subprocess.run(
        [sys.executable, "-c", WRITING + script, *(folder / name for name in ("old", "new", "out")), mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("mode", "before"), [("over", "old"), ("beside", "none")])
def test_killed_before_every_file_operation(toys, tmp_path, mode, before):
    seen = kill(EVERYWHERE, toys, tmp_path, mode)
    turn = seen.index("new")  # from one operation to the next
    assert seen == [before] * turn + ["new"] * (len(seen) - turn)
    assert turn > 30
    assert len(seen) - turn > 2  # also while the folder is synced and swept


def test_killed_at_any_time(toys, tmp_path):
    seen = kill(ANYWHERE, toys, tmp_path, "over")
    assert len(seen) == 30
    assert set(seen) <= {"old", "new"}
