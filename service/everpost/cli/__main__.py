"""`python -m everpost.cli`: the `everpost` command, run by a given interpreter."""

from everpost.cli import main

if __name__ == "__main__":
    main()
