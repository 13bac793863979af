"""Orphans: what a killed process leaves behind becomes ours, and leaves no zombie."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: adopting is for the whole process, and the tests' own children are not to be collected.
SCRIPT = """
import asyncio, os, subprocess, sys, time
from deploy.orphans import adopt_orphans, collect_orphans
adopt_orphans()
parent = "import subprocess, sys; p = subprocess.Popen(['sleep', '0.1']); print(p.pid, flush=True)"
pid = int(subprocess.run([sys.executable, "-S", "-c", parent], stdout=subprocess.PIPE, check=True).stdout)
def parent_of(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        return None
assert parent_of(pid) == os.getpid(), "not adopted"
async def main():
    task = asyncio.create_task(collect_orphans(interval_s=0.05))
    for _ in range(200):
        if parent_of(pid) is None:
            break
        await asyncio.sleep(0.05)
    # a child that its own starter waits for is left to it
    child = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    status = child.wait()
    task.cancel()
    return status
assert asyncio.run(main()) == 7
assert parent_of(pid) is None, "still a zombie"
print("fine")
"""


def test_an_adopted_process_is_collected_and_other_children_are_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.stdout == "fine\n", done.stderr
