"""What is measured and kept: each module writes one JSON object to results/ and prints it."""
