"""Lets `python -m recsdk` do what the `recsdk` command does."""

from recsdk.cli import main

if __name__ == "__main__":
    main()
