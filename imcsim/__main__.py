"""Start the command line, for ``imcsim`` and ``python -m imcsim``."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """The command line; Ctrl-C ends it without a word, also while its modules are being imported."""
    try:
        from imcsim import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
