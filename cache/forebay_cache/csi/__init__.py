"""The CSI node of a machine: what a kubelet asks for becomes mounts of the agent. It needs no privilege of its own."""
