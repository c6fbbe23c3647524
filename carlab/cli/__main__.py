"""`python -m carlab.cli`: the command line of this Python."""

from carlab.cli.app import main

if __name__ == "__main__":
    main()
