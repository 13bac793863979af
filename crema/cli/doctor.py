"""`crema doctor`: what would keep a cluster from serving on this machine, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import click

from crema.cli.needs_local import needs_local


@click.command()
@click.option(
    "--cluster",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("cluster.yaml"),
    show_default=True,
    metavar="FILE",
    help="The cluster file to look at.",
)
@click.option("--json", "as_document", is_flag=True, help="Print the findings as one JSON document.")
def doctor(cluster: Path, as_document: bool) -> int:
    """Look at this machine, the cluster file, its packages' environments, its ports, and the cluster if it runs.

    Changes nothing. Ends with 1 when something would keep it from serving.

    \b
    Example: crema doctor
    """
    from dataclasses import asdict

    from crema.cli.table import aligned, as_json

    with needs_local("doctor"):
        from deploy.doctor import examine
    findings = list(examine(cluster))
    if as_document:
        click.echo(as_json({"findings": [asdict(finding) for finding in findings]}))
    else:
        firsts = [finding.problem.partition("\n") for finding in findings]
        rows = [
            (finding.state.upper(), finding.what, finding.detail, first)
            for finding, (first, _, _) in zip(findings, firsts, strict=True)
        ]
        for line, (_, _, more) in zip(aligned(rows), firsts, strict=True):
            click.echo(line)
            for further in more.splitlines():
                click.echo(f"{'':10}{further}")
    return 1 if any(finding.state == "failed" for finding in findings) else 0
