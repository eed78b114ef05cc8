"""`python -m helpers.cli`."""

from helpers.cli import main

if __name__ == "__main__":
    main()
