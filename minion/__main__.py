"""`python -m minion`: one replica of one model version, of compiled modules where there are any."""

from crema.compiled import prefer

if __name__ == "__main__":
    prefer()
    from minion.command import main

    main()
