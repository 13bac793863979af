"""The public API, version 1: analyze one image, a batch of images, and list the models (design: 6.1).

Reads as the life of a request. What the parts decide is decided in them: `body`, `call`, `plan`, `fanout`, `merge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote

import msgpack
import msgspec

from coordinator.answers import tenth
from coordinator.body import BATCH, ONE_IMAGE, Body, Limits, Watch, read_body
from coordinator.call import Call, Image, read_batch, read_call
from coordinator.fanout import Fanout, Photo
from coordinator.gate import Gate
from coordinator.image_url import ImageUrl
from coordinator.media import Way
from coordinator.merge import Merged, finish, merge, merge_json
from coordinator.model_list import describe
from coordinator.options import no_options
from coordinator.plan import Plan, Planner, Query
from coordinator.rights import Rights
from coordinator.violations import Violations
from coordinator.visit import CALLER_LEFT, Observer, Visit
from coordinator.ways import Ways
from crema.errors import CremaError, problem, retry_after_seconds
from crema.host.http_answer import Answer, answer
from crema.host.http_request import Request
from crema.host.http_responses import problem_response
from crema.host.service import Route

# Photos of one batch call that are under way at once: enough to fill a minion's batches, few enough to leave the
# preprocessor's places to others.
BATCH_WIDTH: Final = 8

STICKY: Final = "X-Crema-Sticky"
"""The header whose value always meets the same version, while a new one has its share of the traffic."""

_encode_json = msgspec.json.Encoder().encode

_JSON_HEAD: Final = "Content-Type: application/json\r\n"
_MSGPACK_HEAD: Final = "Content-Type: application/msgpack\r\n"
_PROBLEM_HEAD: Final = "Content-Type: application/problem+json\r\n"

ReadCall = Callable[[Way, Body, Violations], Call]


class ApiV1:
    """The handlers of `/v1`."""

    def __init__(
        self, ways: Ways, gate: Gate, observer: Observer, rights: Rights, *, can_fetch: bool = False
    ) -> None:
        self.can_fetch = can_fetch
        self._directory = ways.directory
        self._ways = ways
        self._planner = Planner(ways.directory)
        self._gate = gate
        self._observer = observer
        self._rights = rights
        self._loop = asyncio.get_running_loop()
        self.last_call = -1e9
        """When the last call came, as a time of `monotonic`."""

    @property
    def routes(self) -> list[Route]:
        """What is served under `/v1`."""
        return [
            Route("POST", "/v1/analyze", self.analyze, "infer"),
            Route("POST", "/v1/analyze/batch", self.analyze_batch, "infer"),
            Route("GET", "/v1/models", self.list_models, "infer"),
            Route("GET", "/v1/models/{name}", self.show_model, "infer"),
        ]

    # -- one image -------------------------------------------------------------------------------------------------

    def analyze(self, request: Request) -> Awaitable[Answer]:
        """`POST /v1/analyze`: one image, many models, one answer."""
        return self._visited(request, "analyze", self._analyze)

    async def _analyze(self, request: Request, visit: Visit) -> Answer:
        images, plan = await self._read(request, visit, ONE_IMAGE, read_call)
        image = images[0]
        if isinstance(image, CremaError):
            raise image
        as_msgpack = wants_msgpack(request)
        fanout = await self._fan_out(visit, visit.request_id, image, plan)
        merged, body = self._merge(visit, visit.request_id, fanout, as_msgpack)
        visit.status, visit.code = merged.status, merged.code
        total_ms = (monotonic() - visit.started) * 1000
        head = f"Server-Timing: preprocess;dur={visit.preprocess_ms:.1f}, total;dur={total_ms:.1f}\r\n"
        if merged.retry_after_s is not None:
            head = f"{head}Retry-After: {merged.retry_after_s}\r\n"
        if merged.status != 200:
            return Answer(merged.status, _PROBLEM_HEAD + head, body)
        kind = _MSGPACK_HEAD if as_msgpack else _JSON_HEAD
        return Answer(200, f"{kind}{head}X-Crema-Status: {merged.code}\r\n", body)

    # -- a batch ---------------------------------------------------------------------------------------------------

    def analyze_batch(self, request: Request) -> Awaitable[Answer]:
        """`POST /v1/analyze/batch`: 1 to 32 images; an item per image, each an answer or a problem."""
        return self._visited(request, "analyze/batch", self._analyze_batch)

    async def _analyze_batch(self, request: Request, visit: Visit) -> Answer:
        images, plan = await self._read(request, visit, BATCH, read_batch)
        as_msgpack = wants_msgpack(request)
        items: list[dict[str, Any]] = [{}] * len(images)
        after_s: list[int] = []
        waiting = iter(enumerate(images))

        async def work() -> None:
            for index, image in waiting:
                items[index], retry_after_s = await self._item(
                    visit, f"{visit.request_id}.{index}", image, plan, as_msgpack
                )
                after_s.append(retry_after_s or 0)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(BATCH_WIDTH, len(images))):
                group.create_task(work())
        visit.status, visit.code = 200, "ok"
        visit.images = len(items)
        visit.problems = sum(item["kind"] == "problem" for item in items)
        total_ms = tenth((monotonic() - visit.started) * 1000)
        headers = {"Server-Timing": f"total;dur={total_ms}"}
        if max(after_s):
            headers["Retry-After"] = str(max(after_s))
        body = {"id": visit.request_id, "items": items, "timing": {"total_ms": total_ms}}
        return _answer(body, headers, as_msgpack)

    async def _item(
        self, visit: Visit, item_id: str, image: Image, plan: Plan, as_msgpack: bool
    ) -> tuple[dict[str, Any], int | None]:
        """The element of `items` for one image, and its part of `Retry-After`."""
        try:
            if isinstance(image, CremaError):
                raise image
            fanout = await self._fan_out(visit, item_id, image, plan)
        except CremaError as error:
            after_ms = error.retry_after_ms
            after_s = None if after_ms is None else retry_after_seconds(after_ms)
            return {"kind": "problem", **problem(error, item_id)}, after_s
        merged = self._merge_item(visit, item_id, fanout, as_msgpack)
        kind = "answer" if merged.status == 200 else "problem"
        return {"kind": kind, **merged.body}, merged.retry_after_s

    # -- models ----------------------------------------------------------------------------------------------------

    async def list_models(self, request: Request) -> Answer:
        """`GET /v1/models`."""
        _refuse_query(request)
        models = [describe(model) for model in self._directory.models.values()]
        return _answer({"models": models}, {}, wants_msgpack(request))

    async def show_model(self, request: Request) -> Answer:
        """`GET /v1/models/{name}`: the model, and a list of it alone, so that a reader of the list reads this too."""
        _refuse_query(request)
        shown = describe(self._directory.model(unquote(request.segment)))
        return _answer({**shown, "models": [shown]}, {}, wants_msgpack(request))

    # -- what every call goes through ------------------------------------------------------------------------------

    async def _visited(
        self,
        request: Request,
        where: str,
        handle: Callable[[Request, Visit], Awaitable[Answer]],
    ) -> Answer:
        """Runs a handler as a visit: the deadline's clock starts, problems become documents, the end is observed."""
        self.last_call = started = monotonic()
        visit = Visit(request, where, started)
        try:
            return await handle(request, visit)
        except CremaError as error:
            visit.status, visit.code = error.status, error.code
            timing = f"total;dur={tenth((monotonic() - started) * 1000)}"
            return problem_response(error, visit.request_id, {"Server-Timing": timing})
        except (asyncio.CancelledError, ConnectionError):
            visit.status, visit.code = CALLER_LEFT, "caller_left"
            raise
        finally:
            self._observer.end(visit, monotonic())

    async def _read(
        self, request: Request, visit: Visit, limits: Limits, read: ReadCall
    ) -> tuple[list[Image], Plan]:
        """The images and the plan of a call. Raises CremaError for the whole call; takes a permit."""
        gate = self._gate
        if not self._directory.is_loaded:
            raise CremaError(
                "not_ready", "this coordinator has not read its routing yet; try again", retry_after_ms=1000
            )
        query = self._planner.query(request.query)
        deadline_ms = query.options.deadline_ms

        if visit.caller is not None:
            self._rights.begin(visit, visit.caller, query)

        def hold(size: int) -> None:
            gate.hold(size, visit.holding)
            visit.body_bytes += size

        def check(size: int) -> None:
            self._planner.check(query)
            gate.check(size, visit.holding)

        deadline = None if deadline_ms is None else visit.started + deadline_ms / 1000
        violations = Violations()
        try:
            gate.refuse_if_full(visit.holding)
            way, body = await read_body(request, limits, Watch(hold, check, deadline))
            visit.body_ms = (monotonic() - visit.started) * 1000
            gate.enter(visit.holding)
            visit.is_inside = True
            call = read(way, body, violations)
        except CremaError as error:
            if error.code == "overloaded":
                self._observer.refused()
            raise _with_query(error, violations, query) from None
        images = [
            image.disabled() if isinstance(image, ImageUrl) and not self.can_fetch else image
            for image in call.images
        ]
        plan = self._planner.plan(query, call.sources, violations)
        if plan.has_canaries:
            plan = plan.for_caller(request.headers.get(STICKY) or visit.request_id)
        if visit.caller is not None:
            plan = self._rights.grant(visit, visit.caller, plan, len(images), BATCH_WIDTH)
        visit.lane = plan.lane
        return images, plan

    async def _fan_out(self, visit: Visit, request_id: str, image: Photo, plan: Plan) -> Fanout:
        """One image through the tiers. Raises CremaError when it could not be prepared."""
        fanout = Fanout(
            self._ways,
            plan,
            request_id=request_id,
            deadline=visit.started + plan.deadline_ms / 1000,
            traceparent=visit.traceparent,
            loop=self._loop,
        )
        fanout.start(image)
        try:
            await fanout.done
        finally:
            # a caller who left takes everything downstream along
            fanout.cancel()
        visit.preprocess_ms = fanout.preprocess_ms
        visit.image = fanout.image
        if fanout.failure is not None:
            raise fanout.failure
        return fanout

    def _merge(self, visit: Visit, request_id: str, fanout: Fanout, as_msgpack: bool) -> tuple[Merged, bytes]:
        """The answer of a call of one image, and its body."""
        merged_at = monotonic()
        visit.parts = parts = fanout.parts
        timing = _timing(visit, fanout, merged_at)
        if as_msgpack:
            for part in parts:
                finish(part, as_msgpack)
            merged = merge(request_id, parts, fanout.image, timing)
            body = msgpack.packb(merged.body) if merged.status == 200 else _encode_json(merged.body)
        else:
            merged, body = merge_json(request_id, parts, fanout.image, timing)
        visit.merge_ms = (monotonic() - merged_at) * 1000
        if merged.code == "partial":
            self._observer.partial()
        return merged, body

    def _merge_item(self, visit: Visit, item_id: str, fanout: Fanout, as_msgpack: bool) -> Merged:
        """The answer for one image of a batch, ready to stand in its call's."""
        parts = fanout.parts
        for part in parts:
            finish(part, as_msgpack)
        visit.parts = [*visit.parts, *parts]
        merged = merge(item_id, parts, fanout.image, _timing(visit, fanout, monotonic()))
        if merged.code == "partial":
            self._observer.partial()
        return merged


def _timing(visit: Visit, fanout: Fanout, now: float) -> dict[str, float]:
    """An answer's `timing`."""
    return {
        "preprocess_ms": tenth(fanout.preprocess_ms),
        "total_ms": tenth((now - visit.started) * 1000),
    }


def _with_query(error: CremaError, violations: Violations, query: Query) -> CremaError:
    """An error of the body; when it says what is wrong with the request, then also what else is known to be."""
    if error.code != "invalid_request" or not (violations or query.violations):
        return error
    told = Violations()
    told.note(error.extra["errors"])
    told.include(violations)
    told.include(query.violations)
    return told.error()


def _refuse_query(request: Request) -> None:
    violations = Violations()
    no_options(request.query, violations)
    violations.refuse()


def wants_msgpack(request: Request) -> bool:
    """Whether `Accept` asks for msgpack, and not for JSON before it."""
    accept = request.headers.get("Accept")
    if accept is None or "msgpack" not in (accept := accept.lower()):
        return False
    quality = {"application/msgpack": 0.0, "application/json": 0.0}
    for each in accept.split(","):
        kind, *params = (part.strip() for part in each.split(";"))
        if kind in quality:
            quality[kind] = _quality(params)
    return (
        quality["application/msgpack"] > 0 and quality["application/msgpack"] >= quality["application/json"]
    )


def _quality(params: list[str]) -> float:
    for param in params:
        name, _, value = param.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _answer(body: dict[str, Any], headers: dict[str, str], as_msgpack: bool) -> Answer:
    if as_msgpack:
        return answer(msgpack.packb(body), "application/msgpack", headers=headers)
    return answer(_encode_json(body), "application/json", headers=headers)
