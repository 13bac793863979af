"""Steps `load` and `loads`: the model loads in time, alone with its files, and a second load answers like the first."""

from __future__ import annotations

from check.failure import StepFailed
from check.probe import WorkerLost
from check.session import Session
from check.steps.answers import first_difference, spoken
from check.subject import Subject
from crema.host.manifest_parts import TensorInput
from crema.host.package_paths import file_sha256, package_files

_GUARDS = {
    "namespace": "no network (own namespace)",
    "sockets": "no network through Python (the kernel allows no namespace)",
}


def check_load(subject: Subject) -> str:
    """Loads within load_s, without network, in an empty folder that it does not leave."""
    before = _contents(subject)
    session = subject.session
    try:
        probe = session.probe
    except WorkerLost as lost:
        if isinstance(subject.manifest.input, TensorInput):
            _ = subject.examples  # the warm-up takes them as they are: what is wrong with one is the reason
        tried = refused_actions(session)
        reason = f"{lost}; {tried}" if tried else str(lost)
        raise StepFailed(reason, detail=lost.detail) from None
    guards = [_GUARDS.get(note.what, note.what) for note in session.notes_of("guard")]
    if tried := refused_actions(session):
        raise StepFailed(tried)
    if (folder := probe.working_folder) != probe.scratch.resolve():
        raise StepFailed(
            f"load leaves its working directory for {folder}", hint="paths from ctx.path(...), and no chdir"
        )
    if (changed := sorted(_contents(subject).items() ^ before.items())) != []:
        raise StepFailed(
            f"load changes the package's own files: {changed[0][0]}",
            hint="write to a temporary folder, or ship the file",
        )
    megabytes = probe.memory_bytes() / 1e6
    return f"{session.load_seconds:.1f} s on {session.plan.device}, {megabytes:.0f} MB, {', '.join(guards)}"


def refused_actions(session: Session) -> str | None:
    """What the guard saw that no package may do, in words."""
    if notes := session.notes_of("network"):
        return f"it reaches for the network ({notes[0].what}); a package brings all that it needs"
    if notes := session.notes_of("cwd"):
        return f"it leaves its working directory for {notes[0].what}; use ctx.path(...) instead of chdir"
    if notes := session.notes_of("write"):
        return f"it writes {notes[0].what}, outside its working directory; write to a temporary folder"
    return None


def check_loads(subject: Subject) -> str:
    """Another process that loads the package gives the same answers."""
    first = subject.session
    second = subject.new_session()
    try:
        try:
            _ = second.probe
        except WorkerLost as lost:
            raise StepFailed(f"the second load: {lost}", detail=lost.detail) from None
        for item in subject.pool:
            one, two = first.alone(item), second.alone(item)
            if (found := first_difference(subject.manifest, one, two, item.tolerance)) is not None:
                raise StepFailed(
                    f"two loads do not agree on {item.name}: the second {found}",
                    hint="load weights from files only; no random start, no state kept between loads",
                )
    finally:
        second.close()
    return f"two processes agree on {spoken(len(subject.pool), 'item')}"


def _contents(subject: Subject) -> dict[str, str]:
    return {
        path.relative_to(subject.folder).as_posix(): file_sha256(path)
        for path in package_files(subject.folder)
        if path.is_file()
    }
