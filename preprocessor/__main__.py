"""`python -m preprocessor`: one preprocessor, until SIGTERM or the death of its parent; what it shares, compiled."""

from crema.compiled import prefer

if __name__ == "__main__":
    prefer()
    from preprocessor.app import main

    main()
