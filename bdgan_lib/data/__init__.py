"""The address that data cards written before version 0.2 give for reading a set; see `bdgan_lib.datasets`."""
