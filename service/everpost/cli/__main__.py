"""`python -m everpost.cli`: the `everpost` command, for those who start it by the interpreter's path."""

from everpost.cli import main

if __name__ == "__main__":
    main()
