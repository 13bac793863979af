"""Rights: what a call with a key may do, asked twice: at its headers, and once all that it wants is known.

The order is that of cost to the caller: scope, quota, fair share. What is refused at the headers costs no upload.
"""

from __future__ import annotations

from time import monotonic

from coordinator.directory import Directory
from coordinator.fair_shares import FairShares
from coordinator.keys import Caller, needs_scope
from coordinator.plan import Plan, Query
from coordinator.visit import Observer, Visit
from crema.errors import CremaError

_BULK_CALL = "a call in the lane bulk"


class Rights:
    """What keys may do, beyond reaching a route."""

    def __init__(self, shares: FairShares, directory: Directory, observer: Observer) -> None:
        self._shares = shares
        self._directory = directory
        self._observer = observer

    def begin(self, visit: Visit, caller: Caller, query: Query) -> None:
        """At the headers. Raises CremaError `forbidden` or `overloaded`."""
        lane = query.options.lane
        if lane == "bulk" and "bulk" not in caller.scopes:
            raise needs_scope("bulk", _BULK_CALL)
        try:
            caller.account.quota.enter(visit.started)
        except CremaError:
            self._observer.refused("quota", lane or "interactive")
            raise
        visit.is_counted = True
        # a query that says nothing of the body's has the plan of the call before
        if query.plan is not None and query.revision == self._directory.revision:
            self._check(caller, query.plan)

    def grant(self, visit: Visit, caller: Caller, plan: Plan, photos: int, width: int) -> Plan:
        """With all known: the plan as this caller gets it. At most `width` of its photos are under way at once.

        Raises CremaError `forbidden` or `overloaded`."""
        if plan.lane == "bulk" and "bulk" not in caller.scopes:
            raise needs_scope("bulk", _BULK_CALL)
        granted = self._check(caller, plan)
        caller.account.quota.take_more(photos - 1)
        places = max(1, min(photos, width))
        visit.admission = self._shares.enter(monotonic(), caller.account.name, plan, places)
        return granted

    def _check(self, caller: Caller, plan: Plan) -> Plan:
        try:
            return self._shares.check(
                monotonic(), caller.account.name, plan, self._directory.open_preprocessors
            )
        except CremaError:
            self._observer.refused("full", plan.lane)
            raise
