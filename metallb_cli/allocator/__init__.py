"""Which address a Service gets. Pure: one object that a single thread owns."""
