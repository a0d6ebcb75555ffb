"""Configuration: YAML text in, pools and problems out. Pure; knows both ConfigMap generations."""
