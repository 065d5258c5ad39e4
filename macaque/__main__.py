"""`python -m macaque`: the `macaque` command."""

from macaque.cli import main

if __name__ == "__main__":
    main(prog_name="macaque")
