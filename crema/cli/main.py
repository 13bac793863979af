"""The `crema` command. It knows the verbs by name and imports one only to run it, so that `crema --help` is quick.

Exit codes: 0 ok, 1 failed, 2 wrong use, 3 partial.
"""

from __future__ import annotations

import errno
import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from crema import __version__

FAILED: Final = 1
WRONG_USE: Final = 2
PARTIAL: Final = 3


class Verb(NamedTuple):
    """What is said of a verb without importing it: one line of help, and a call that works."""

    summary: str
    example: str


# `crema.cli.NAME` holds a click command NAME; a keyword of Python's has an underscore behind it there.
VERBS: Final[dict[str, Verb]] = {
    "up": Verb("Start the cluster of a cluster.yaml and serve until Ctrl-C.", "crema up"),
    "analyze": Verb(
        "Send photos to a cluster and show what the models say.", "crema analyze samples/coffee.jpg"
    ),
    "status": Verb("Show every process of the running cluster.", "crema status"),
    "top": Verb("Watch live what every tier and model is doing.", "crema top"),
    "new": Verb("Write a new package that already passes `crema check`.", "crema new sunsets --kind numpy"),
    "lock": Verb(
        "Pin and hash what a package's requirements.in wants.", "crema lock model_packages/tags/3.1"
    ),
    "check": Verb("Check a package for handover, one line per step.", "crema check tags@3.1"),
    "try": Verb("Run a package on a photo, without a server.", "crema try tags@3.1 samples/coffee.jpg"),
    "diff": Verb("Show how the answers of two versions differ.", "crema diff tags@3.1 tags@3.2 samples"),
    "bench": Verb(
        "Measure a package: t(n), memory, and what its manifest should say.", "crema bench tags@3.1"
    ),
    "models": Verb("List the models' versions and what each gets of the traffic.", "crema models"),
    "release": Verb(
        "Check a package and serve it beside the others, or as a canary.",
        "crema release model_packages/tags/3.2 --canary 5%",
    ),
    "promote": Verb("Make a model's name mean a version that serves.", "crema promote tags@3.2"),
    "rollback": Verb("Undo a model's last release, promote or retire.", "crema rollback tags"),
    "retire": Verb("Take a version out of service.", "crema retire tags@3.1"),
    "loadtest": Verb(
        "Send photos at a given rate, and report latency, goodput and the knee.",
        "crema loadtest --rate 50 --duration 30s",
    ),
    "simulate": Verb(
        "Simulate a cluster before it is rented: machines, 429s, latency, cost.",
        "crema simulate loadtest/scenarios/step.yaml",
    ),
    "keys": Verb(
        "Make, list and revoke the API keys of a cluster.", "crema keys new --name app --scopes infer"
    ),
    "doctor": Verb("Say what would keep a cluster from serving here.", "crema doctor"),
    "render": Verb(
        "Write Kubernetes manifests, or the script that builds the images.",
        "crema render kubernetes -o manifests",
    ),
    "env": Verb("List, verify and prune the models' virtualenvs.", "crema env list"),
}


class Verbs(click.Group):
    """A group whose commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb; None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        found = getattr(importlib.import_module(f"crema.cli.{name}"), name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name].summary) for name in VERBS])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that was written; what is close to it when there is none."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            import difflib

            close = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"there is no verb {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


def run(args: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return the exit code. Every error says what to do next."""
    try:
        result = cli.main(args, prog_name="crema", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _show_wrong_use(error, sys.argv[1:] if args is None else args)
        return WRONG_USE
    except click.ClickException as error:
        click.echo(f"crema: {error.format_message()}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("crema: stopped", err=True)
        return FAILED
    except BrokenPipeError:
        # whoever read our output has seen enough; Python's own flush at the end must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # what is left in the buffer of a full output must not raise again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"crema: {error.strerror}{where}\n  make room, and try again", err=True)
        return FAILED
    return result if isinstance(result, int) else 0


def _show_wrong_use(error: click.UsageError, args: Sequence[str]) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    verb = args[0] if args and args[0] in VERBS else None
    command = f"crema {verb}" if verb else "crema"
    example = VERBS[verb or "up"].example
    click.echo(
        f"{command}: {error.format_message()}\n  example: {example}\n  more:    {command} --help", err=True
    )


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="crema", message="%(prog)s %(version)s")
def cli() -> None:
    """An inference cluster for images: one call, many models."""


def main() -> None:
    """The entry point of the `crema` script."""
    sys.exit(run())
