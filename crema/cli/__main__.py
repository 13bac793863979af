"""`python -m crema.cli`: the same as `crema`."""

from crema.cli.main import main

main()
