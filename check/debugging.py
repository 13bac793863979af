"""Debugging: a package's answer to one item with a debugger in this terminal, in the package's own environment."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import numpy as np

from check.items import Item, shape_of
from check.subject import Subject
from check.surroundings import own_root, probe_environment


def debug(subject: Subject, item: Item, params: dict[str, Any]) -> int:
    """Runs the item and waits until the person at the terminal is done. Returns 0 when it was answered, else 1."""
    plan = subject.session.plan
    shape, dtype = shape_of(subject.manifest.input)
    np.save(subject.work / "item.npy", np.frombuffer(item.pixels, dtype).reshape(shape))
    defaults = {name: param.default for name, param in subject.manifest.params.items()}
    job = {
        "package": str(plan.package_dir),
        "device": plan.device,
        "card": plan.card,
        "item": str(subject.work / "item.npy"),
        "params": {**defaults, **params},
    }
    path = subject.work / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    scratch = subject.work / "scratch"
    scratch.mkdir()
    environment = probe_environment(os.environ, plan.light_ring, scratch, plan.visible)
    environment["TERM"] = os.environ.get("TERM", "dumb")
    worker = own_root() / "check" / "debugging_worker.py"
    done = subprocess.run([str(plan.python), "-P", str(worker), str(path)], cwd=scratch, env=environment)
    return 1 if done.returncode else 0
