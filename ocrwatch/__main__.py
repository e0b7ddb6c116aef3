"""`python -m ocrwatch` is the console script."""

from ocrwatch.cli import main

main()
