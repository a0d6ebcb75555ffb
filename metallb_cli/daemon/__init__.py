"""The loops of controller and speaker. They see the API server, the kernel and the metrics as Protocols."""
