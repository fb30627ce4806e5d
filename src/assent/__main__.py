"""`python -m assent`."""

from assent.cli.main import main

main()
