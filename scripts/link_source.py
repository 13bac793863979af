"""Put this checkout on the path of the virtualenv that runs this script, and its `crema` command beside it.

What an editable install would do, without building anything: no build backend has to be fetched for `make up`.
"""

from __future__ import annotations

import stat
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = f"""#!{sys.executable}
import sys

from crema.cli.main import main

sys.exit(main())
"""


def main() -> None:
    (Path(sysconfig.get_path("purelib")) / "crema-source.pth").write_text(f"{ROOT}\n")
    command = Path(sysconfig.get_path("scripts")) / "crema"
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main()
