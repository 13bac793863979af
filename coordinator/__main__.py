"""`python -m coordinator`: one coordinator process, of compiled modules where there are any."""

from crema.compiled import prefer

if __name__ == "__main__":
    prefer()
    from coordinator.command import main

    main()
