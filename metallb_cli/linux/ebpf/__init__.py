"""Programs that the kernel runs for us: assembled here, loaded by bpf(2), no compiler and no library."""
