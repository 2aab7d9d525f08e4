"""`python -m onelip`: the command, where its script is not on the path."""

from onelip.cli import main

if __name__ == "__main__":
    main()
