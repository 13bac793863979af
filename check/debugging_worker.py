"""The worker of `crema try --pdb`: one item through one package in this terminal, and the debugger where it raises.

    python -P debugging_worker.py JOB.json

JOB names the package, the device, the card, the file of the item and its params. Runs in the package's own virtualenv;
`breakpoint()` in the model's code stops there, too. Exit status 0: answered, 1: raised.
"""

from __future__ import annotations

import importlib
import json
import pdb
import sys
import traceback
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from crema.loaded_model import Context
from crema.outcomes import OutcomePacker


def answer(job: dict[str, Any]) -> Any:
    """The model's output for the job's item, or whatever it raises."""
    package, card = Path(job["package"]), job["card"]
    sys.path.insert(0, str(package))
    module, _, name = card["entrypoint"].partition(":")
    model = getattr(importlib.import_module(module), name)()
    model.load(Context(package, job["device"]))
    outputs = model.predict(np.load(job["item"])[None], [job["params"]])
    output = outputs[0]
    if isinstance(output, BaseException):
        raise output
    if hasattr(model, "postprocess"):
        output = model.postprocess(output, job["params"])
    print(f"answer: {output}")
    return output


def main() -> int:
    """Run the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        output = answer(job)
    except Exception as error:
        traceback.print_exc()
        pdb.post_mortem(error.__traceback__)
        return 1
    outcome = msgpack.unpackb(OutcomePacker(job["card"]["output"]).pack(output))
    if "error" in outcome:
        print(outcome["error"]["message"])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
