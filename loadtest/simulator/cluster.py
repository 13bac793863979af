"""The whole cluster in virtual time: builds it from a scenario, lets the calls come, and says what became of everything.

Order of one call: coordinator → one preprocessor → every model, on a machine each → the answer, which ends with its slowest
part. Machines boot, drain, die and are replaced; the live autoscaler decides how many there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import process_time
from typing import Any

from crema.names import Lane
from deploy.autoscaler import Limits
from loadtest.figures import Kind
from loadtest.simulator.agenda import Agenda
from loadtest.simulator.attempt import PREPROCESS, Call, Photo
from loadtest.simulator.coordinator import Coordinator, Front
from loadtest.simulator.cores import Cores, Thread
from loadtest.simulator.fleet import Fleet
from loadtest.simulator.ledger import Ledger
from loadtest.simulator.machine import Machine, Seen
from loadtest.simulator.minion import Batches, Minion
from loadtest.simulator.one_machine_setting import Process
from loadtest.simulator.preprocessor import Decoders, Preprocessor
from loadtest.simulator.result import Cost, FleetResult, Result
from loadtest.simulator.scenario import (
    PREPROCESSOR,
    AutoscalerSetting,
    LossSetting,
    MachineSetting,
    PhotoSetting,
    Read,
    TierSetting,
)
from loadtest.simulator.schedule import due
from loadtest.simulator.traffic import Photos
from preprocessor.cost import work_of
from preprocessor.header import ImageHeader

PLACES_PER_CORE = 32
_TIMELINE_STEPS = 240
_BULK_DEADLINE_S = 25.0
# What a preprocessor without models' promises is expected to take at first (`coordinator.directory`).
_EXPECTED_PREPROCESS_MS = 500.0
# No service takes less than this share of its mean, however it scatters.
_LEAST = 0.5


class Cluster:
    """Use `simulate`."""

    def __init__(self, read: Read) -> None:
        scenario = read.scenario
        lapse = scenario.time_lapse
        self.agenda = Agenda(lapse)
        self._read = read
        self._scenario = scenario
        self._lapse = lapse
        self._seconds = scenario.seconds / lapse
        self._deadline_s = scenario.call.deadline_ms / 1000
        self._photos = Photos(
            [(kind.share, _photo(kind)) for kind in scenario.photos], self._chance("photos")
        )
        self._cores = None if scenario.one_machine is None else Cores(scenario.one_machine.cores)
        self._caller = self._thread("caller")
        self._caller_s = scenario.network.client_ms / 1000
        # a caller that shares the cores is simulated, and not only added
        outside_s = self._caller_s if self._caller is None else 0.0
        self.ledger = Ledger(
            scenario.slo_ms / 1000,
            begin=scenario.warm_up_s / lapse,
            seconds=self._seconds,
            steps=_TIMELINE_STEPS,
            outside_s=outside_s,
        )
        names = list(scenario.models)
        self.models = {
            name: read.curves[name].model(name, model.scatter, model.host_ms)
            for name, model in scenario.models.items()
        }
        self.batches = {name: Batches() for name in names}
        front = Front(
            places=scenario.coordinator.places,
            cpu_s=scenario.coordinator.cpu_ms / 1000,
            outside_s=outside_s,
            needs_all=scenario.call.on_error == "fail",
        )
        # a model's promise stands for the time of its answers until one has been seen
        expected_ms = [self.models[name].slo_s * 1000 for name in names] + [_EXPECTED_PREPROCESS_MS]
        self.coordinators = [
            Coordinator(
                self.agenda,
                front,
                expected_ms,
                self._chance(f"coordinator {n}"),
                self._ended if self._caller is None else self._answered,
                self._thread("coordinator"),
            )
            for n in range(scenario.coordinator.processes)
        ]
        self.fleets = [
            self._fleet(name, index, scenario.models[name], partial(self._minion, name))
            for index, name in enumerate(names)
        ]
        self.fleets.append(self._fleet(PREPROCESSOR, PREPROCESS, scenario.preprocessor, self._preprocessor))
        self._turn = 0

    # -- building ------------------------------------------------------------------------------------------------------

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._scenario.seed} {what}")

    def _threads(self, process: Process) -> Callable[[], Thread] | None:
        """What gives a process a thread of its own; None where each has its cores for itself."""
        shared = self._scenario.one_machine
        if shared is None or self._cores is None:
            return None
        return partial(Thread, self.agenda, self._cores, shared.work(process))

    def _thread(self, process: Process) -> Thread | None:
        threads = self._threads(process)
        return threads and threads()

    def _scattered(self, scatter: float, what: str) -> Callable[[], float] | None:
        if not scatter:
            return None
        gauss = self._chance(what).gauss
        return lambda: max(_LEAST, gauss(1.0, scatter))

    def _minion(self, name: str, number: int, seen: Seen) -> Machine:
        model, hop_s = self.models[name], self._scenario.network.minion_ms / 1000
        scattered = self._scattered(model.scatter, f"{name} {number}")
        batches, host, worker = self.batches[name], self._thread("host"), self._thread("worker")
        return Minion(self.agenda, number, seen, hop_s, model, batches, scattered, host, worker)

    def _preprocessor(self, number: int, seen: Seen) -> Machine:
        setting = self._scenario.preprocessor
        hop_s = self._scenario.network.preprocessor_ms / 1000
        shared = self._scenario.one_machine
        decoders = Decoders(
            setting.cores,
            setting.places or PLACES_PER_CORE * setting.cores,
            after=shared.decoder_photos if shared else 0,
            start_s=shared.decoder_start_ms / 1000 if shared else 0.0,
            served=shared.decoder_served if shared else 0,
        )
        ms_per_unit = self._photos.mean_decode_s * 1000 / self._photos.mean_work
        scattered = self._scattered(setting.scatter, f"preprocessor {number}")
        host = self._thread("preprocessor")
        return Preprocessor(
            self.agenda, number, seen, hop_s, decoders, ms_per_unit, scattered, host, self._threads("decoder")
        )

    def _fleet(
        self, name: str, index: int, setting: TierSetting, build: Callable[[int, Seen], Machine]
    ) -> Fleet:
        scenario = self._scenario
        scaling = scenario.autoscaler or AutoscalerSetting()
        return Fleet(
            self.agenda,
            name,
            Limits(setting.replicas.min, setting.replicas.max),
            scenario.boot_s if setting.boot_s is None else setting.boot_s,
            scaling.cooldown_s,
            build,
            partial(self._routed, index),
            self._gone,
        )

    # -- what happens --------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """All of it."""
        scenario, agenda, began = self._scenario, self.agenda, process_time()
        for fleet in self.fleets:
            fleet.begin()
        if scenario.autoscaler is not None:
            period_s = scenario.autoscaler.period_s / self._lapse
            agenda.at(period_s, self._scale, period_s)
        for index, loss in enumerate(scenario.losses):
            agenda.at(loss.at_s, self._lose, loss, self._chance(f"loss {index}"))
        agenda.at(self._seconds / _TIMELINE_STEPS, self._sample, 0)
        self._next(due(self._read, self._chance))
        agenda.run(self._seconds)
        paid_s = {fleet.name: fleet.machine_seconds() for fleet in self.fleets}
        # those under way are followed to their end; nothing else goes on
        agenda.run(self._seconds + 2 * max(self._deadline_s, _BULK_DEADLINE_S))
        return self._result(paid_s, process_time() - began)

    def _next(self, coming: Iterator[tuple[float, Lane]]) -> None:
        # one at a time: a long run needs no more memory than a short one
        due = next(coming, None)
        if due is not None:
            self.agenda.at(due[0], self._arrive, coming, due[1])

    def _arrive(self, coming: Iterator[tuple[float, Lane]], lane: Lane) -> None:
        self._next(coming)
        self.ledger.due(self.agenda.now)
        coordinators = self.coordinators
        self._turn = (self._turn + 1) % len(coordinators)
        deadline_s = self._deadline_s if lane == "interactive" else _BULK_DEADLINE_S
        coordinator, photo, now = coordinators[self._turn], self._photos.next(), self.agenda.now
        if self._caller is None or coordinator.thread is None:
            coordinator.arrive(lane, photo, deadline_s, now)
        else:
            self._caller.do(self._send, coordinator, lane, photo, deadline_s, now)

    def _send(self, coordinator: Coordinator, *what: Any) -> None:
        """A caller that shares the cores sends a call."""
        thread = coordinator.thread
        assert thread is not None
        self.agenda.at(self.agenda.now + self._caller_s / 2, thread.do, coordinator.arrive, *what)

    def _answered(self, *how: Any) -> None:
        """It is answered."""
        assert self._caller is not None
        self.agenda.at(self.agenda.now + self._caller_s / 2, self._caller.do, self._ended, *how)

    def _ended(self, call: Call, kind: Kind, code: str) -> None:
        self.ledger.end(self.agenda.now, call, kind, code)

    def _routed(self, index: int, machines: tuple[Machine, ...]) -> None:
        for coordinator in self.coordinators:
            coordinator.route(index, machines)

    def _gone(self, machine: Machine) -> None:
        for coordinator in self.coordinators:
            coordinator.forget(machine)

    def _scale(self, period_s: float) -> None:
        now = self.agenda.now
        if now >= self._seconds:
            return
        for fleet in self.fleets:
            fleet.scale()
        self.agenda.at(now + period_s, self._scale, period_s)

    def _lose(self, loss: LossSetting, chance: random.Random) -> None:
        for fleet in self.fleets:
            if not loss.of or fleet.name in loss.of:
                dead = fleet.lose(loss.share, loss.noticed_s, loss.how == "silent", chance)
                if loss.how == "broken":
                    for coordinator in self.coordinators:
                        for machine in dead:
                            coordinator.disconnected(machine)

    def _sample(self, index: int) -> None:
        """The machines at the end of each stretch of the timeline."""
        for fleet in self.fleets:
            self.ledger.note(index, fleet.name, fleet.count("ready"), fleet.count("starting"), fleet.wanted)
        if index + 1 < _TIMELINE_STEPS:
            self.agenda.at((index + 2) * self._seconds / _TIMELINE_STEPS, self._sample, index + 1)

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _result(self, paid_s: dict[str, float], took_s: float) -> Result:
        scenario = self._scenario
        settings: dict[str, TierSetting] = {**scenario.models, PREPROCESSOR: scenario.preprocessor}
        front, kinds = scenario.coordinator, scenario.machines
        costs = [
            _cost(name, settings[name].machine, seconds / 3600, kinds) for name, seconds in paid_s.items()
        ]
        costs.append(_cost("coordinator", front.machine, front.processes * scenario.seconds / 3600, kinds))
        fleets = [
            FleetResult(
                fleet.name,
                fleet.limits,
                tuple(fleet.changes),
                self.batches[fleet.name].count if fleet.name in self.batches else 0,
                self.batches[fleet.name].items if fleet.name in self.batches else 0,
            )
            for fleet in self.fleets
        ]
        tries: dict[str, int] = {}
        for coordinator in self.coordinators:
            for outcome, count in coordinator.tries.ended.items():
                tries[outcome] = tries.get(outcome, 0) + count
        return Result(
            summary=scenario.summary,
            seed=scenario.seed,
            seconds=scenario.seconds,
            warm_up_s=scenario.warm_up_s,
            time_lapse=self._lapse,
            ledger=self.ledger,
            fleets=fleets,
            costs=costs,
            attempts=sum(each.attempts for each in self.coordinators),
            second_tries=tries,
            events=self.agenda.events,
            took_s=took_s,
        )


def simulate(read: Read) -> Result:
    """Simulate what a scenario says."""
    return Cluster(read).run()


def _photo(kind: PhotoSetting) -> Photo:
    header = ImageHeader(kind.format, max(1, round(kind.megapixels * 1e6)), 1, many_scans=kind.progressive)
    return Photo(work_of(header), round(kind.kilobytes * 1024), kind.decode_ms / 1000)


def _cost(name: str, kind: str | None, hours: float, kinds: Mapping[str, MachineSetting]) -> Cost:
    price = kinds[kind].price_per_hour if kind is not None else 0.0
    return Cost(name, kind, hours, hours * price)
