"""The demo: the product's main job on one machine, without Kubernetes. Run it with `make demo`."""
