"""Label heads: small networks that read pixel labels off a frozen generator's features."""
