"""Ways: what all calls of a coordinator share on their way down to the other tiers."""

from __future__ import annotations

from coordinator.directory import Directory
from coordinator.patience import Patience
from coordinator.router import Router
from coordinator.second_try import SecondTries


class Ways:
    """Who is there, who chooses among them, and what second tries may cost."""

    __slots__ = ("directory", "patience", "router", "tries")

    def __init__(self, directory: Directory, router: Router | None = None) -> None:
        self.directory = directory
        self.router = router or Router()
        self.tries = SecondTries()
        self.patience = Patience()
