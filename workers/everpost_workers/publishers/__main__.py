"""`python -m everpost_workers.publishers`: checks for `everpost doctor` whether each publisher would start."""

import os
import sys

from everpost.errors import SettingsError
from everpost.platforms import Catalogue
from everpost.printable import printable
from everpost.settings import read_settings
from everpost_workers.publishers.registry import load_publishers


def main() -> int:
    """Return 0 if all would start; otherwise 2, with the reason as the last line on standard error."""
    try:
        settings = read_settings(os.environ)
        load_publishers(Catalogue.read(settings.platforms), settings)
    except SettingsError as error:
        sys.stderr.write(f"{printable(error.message)}\n")
        return 2
    except SystemExit:
        sys.stderr.write("A publisher's constructor or module raises SystemExit.\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
