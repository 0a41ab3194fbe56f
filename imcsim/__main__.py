"""``python -m imcsim`` and the ``imcsim`` command."""

from imcsim.cli import main

if __name__ == "__main__":
    main()
