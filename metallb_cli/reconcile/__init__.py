"""What should change: state in, plan out, no effects. The daemons and `status` share these functions."""
