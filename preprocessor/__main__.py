"""`python -m preprocessor`: one preprocessor, until SIGTERM or the death of its parent."""

from preprocessor.app import main

if __name__ == "__main__":
    main()
