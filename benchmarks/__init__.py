"""What is measured and kept: each module writes one JSON object to results/ and prints it."""

from bdgan_lib.core.malloc import keep_freed_memory

keep_freed_memory()  # as commands and notebooks do
