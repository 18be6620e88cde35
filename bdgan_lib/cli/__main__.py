"""`python -m bdgan_lib.cli` is `bdgan`."""

from bdgan_lib.cli import main

main()
