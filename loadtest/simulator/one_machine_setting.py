"""OneMachineSetting: what it takes to run all processes of a scenario on the cores of one machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crema.host.mistakes import Strict
from loadtest.simulator.cores import Work
from loadtest.simulator.quantities import Ms

Process = Literal["caller", "coordinator", "preprocessor", "decoder", "host", "worker"]


class WorkSetting(Strict):
    """CPU that a process needs for each message, and more when it has to wake up for it."""

    message_ms: Ms = 0.0
    wake_ms: Ms = 0.0


class OneMachineSetting(Strict):
    """Callers, coordinators, preprocessors and minions share `cores`. Models run on a device of their own."""

    cores: int = Field(ge=1, le=256)
    caller: WorkSetting = Field(default_factory=WorkSetting)
    """A message: a call that is sent, an answer."""
    coordinator: WorkSetting = Field(default_factory=WorkSetting)
    """A message: a call, an answer of a preprocessor, one of a minion."""
    preprocessor: WorkSetting = Field(default_factory=WorkSetting)
    """A message: a photo, an answer of a decoder."""
    decoder: WorkSetting = Field(default_factory=WorkSetting)
    """Besides the decode itself."""
    decoder_start_ms: Ms = 0.0
    """CPU of the start of a decode process: each is replaced after `decoder_photos`."""
    decoder_photos: int = Field(default=5000, ge=1)
    decoder_served: int = Field(default=0, ge=0)
    """Photos that each decode process has had before this begins."""
    host: WorkSetting = Field(default_factory=WorkSetting)
    """A message: an item, its outcome."""
    worker: WorkSetting = Field(default_factory=WorkSetting)
    """A message: a batch that comes, one that is done."""

    def work(self, process: Process) -> Work:
        """What is said of a process, in seconds."""
        setting: WorkSetting = getattr(self, process)
        return Work(setting.message_ms / 1000, setting.wake_ms / 1000)
