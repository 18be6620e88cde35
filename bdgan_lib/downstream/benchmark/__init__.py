"""The benchmark: predictions scored into one JSON, results shown on one page."""
