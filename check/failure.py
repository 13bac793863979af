"""StepFailed: why a step refuses a package."""

from __future__ import annotations


class StepFailed(Exception):
    """The text is one line with the reason; `detail` holds further lines, `hint` the next step to take (`try: …`)."""

    def __init__(self, reason: str, *, detail: str = "", hint: str = "") -> None:
        first, _, more = reason.partition("\n")
        super().__init__(first)
        lines = [more, detail, f"try: {hint}" if hint else ""]
        self.detail = "\n".join(line for line in lines if line)
